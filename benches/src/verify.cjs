// Prints how many microseconds Stripe's library takes to check and read an event: the median of 100 batches of 200.
const [library, file, secret, header] = process.argv.slice(2);
const stripe = require(library)("sk_test_none");
const body = require("fs").readFileSync(file);
const once = () => stripe.webhooks.constructEvent(body, header, secret);
for (let i = 0; i < 5000; i++) once();
const batches = [];
for (let batch = 0; batch < 100; batch++) {
  const started = process.hrtime.bigint();
  for (let i = 0; i < 200; i++) once();
  batches.push(Number(process.hrtime.bigint() - started) / 1000 / 200);
}
batches.sort((a, b) => a - b);
console.log(batches[50]);
