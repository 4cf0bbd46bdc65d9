// Stripe's official Node SDK, pointed at the emulator: everything the product and its tests rely on.
// Run: node sdk.cjs FOLDER_WITH_node_modules http://127.0.0.1:PORT
'use strict';

const assert = require('node:assert/strict');
const { Stripe, check, client, control, eventually, raises, receiver, run } = require('./harness.cjs');

const api = client();
const errors = Stripe.errors;
const unique = (word) => `${word}-${process.pid}-${process.hrtime.bigint()}`;

async function priceOf(amount, name = 'Plan') {
  const product = await api.products.create({ name });
  return api.prices.create({
    product: product.id, currency: 'eur', unit_amount: amount, recurring: { interval: 'month' },
  });
}

function customerWith(card = 'pm_card_visa', more = {}) {
  return api.customers.create({
    email: 'a@example.org', payment_method: card, invoice_settings: { default_payment_method: card }, ...more,
  });
}

function subscribe(customer, price, more = {}) {
  return api.subscriptions.create({ customer: customer.id, items: [{ price: price.id }], ...more });
}

let price;

check('products, prices, customers, payment methods', async () => {
  price = await priceOf(900);
  assert.equal((await api.prices.update(price.id, { nickname: 'Team' })).nickname, 'Team');
  assert.deepEqual((await api.prices.list({ product: price.product })).data.map((one) => one.id), [price.id]);
  assert.equal((await api.products.update(price.product, { active: true, name: 'Team' })).name, 'Team');
  const customer = await api.customers.create({ name: 'B', metadata: { user: 'b' } });
  const card = { number: '4242424242424242', exp_month: 8, exp_year: 2035, cvc: '314' };
  const method = await api.paymentMethods.create({ type: 'card', card });
  assert.equal((await api.paymentMethods.attach(method.id, { customer: customer.id })).customer, customer.id);
  const settings = { invoice_settings: { default_payment_method: method.id } };
  assert.equal((await api.customers.update(customer.id, settings)).invoice_settings.default_payment_method, method.id);
  assert.equal((await api.customers.listPaymentMethods(customer.id)).data[0].id, method.id);
  const declined = () => api.paymentMethods.attach('pm_card_chargeDeclined', { customer: customer.id });
  const error = await raises(errors.StripeCardError, declined);
  assert.deepEqual([error.code, error.decline_code, error.statusCode], ['card_declined', 'generic_decline', 402]);
  assert.equal((await api.customers.del(customer.id)).deleted, true);
});

check('a subscription is created, changed and canceled', async () => {
  const bigger = await priceOf(1900, 'Bigger');
  const made = await subscribe(await customerWith(), price, { metadata: { a: 'b' }, expand: ['latest_invoice'] });
  assert.deepEqual([made.status, made.latest_invoice.status, made.metadata.a], ['active', 'paid', 'b']);
  const [item] = made.items.data;
  assert.ok(item.current_period_end > item.current_period_start);
  const wish = { items: [{ id: item.id, price: bigger.id }], proration_behavior: 'none' };
  assert.equal((await api.subscriptions.update(made.id, wish)).items.data[0].price.id, bigger.id);
  const ending = await api.subscriptions.update(made.id, { cancel_at_period_end: true });
  assert.equal(ending.cancel_at, item.current_period_end);
  assert.equal((await api.subscriptions.update(made.id, { cancel_at_period_end: false })).cancel_at, null);
  assert.equal((await api.subscriptions.cancel(made.id)).status, 'canceled');
  const error = await raises(errors.StripeInvalidRequestError, () => api.subscriptions.cancel(made.id));
  assert.deepEqual([error.statusCode, error.code], [404, 'resource_missing']);
  const found = await api.subscriptions.list({ customer: made.customer, status: 'all' });
  assert.deepEqual(found.data.map((one) => one.id), [made.id]);
});

check('a trial', async () => {
  const trial = await subscribe(await customerWith(), price, { trial_period_days: 14 });
  assert.equal(trial.status, 'trialing');
  assert.equal(trial.trial_end - trial.trial_start, 14 * 86_400);
  assert.equal((await api.subscriptions.update(trial.id, { trial_end: 'now' })).status, 'active');
});

check('a card that asks for authentication', async () => {
  const customer = await customerWith('pm_card_authenticationRequired');
  const waiting = await subscribe(customer, price, { expand: ['latest_invoice.confirmation_secret'] });
  assert.equal(waiting.status, 'incomplete');
  assert.match(waiting.latest_invoice.confirmation_secret.client_secret, /^pi_.*_secret_/);
  const [intent] = (await api.paymentIntents.list({ customer: customer.id })).data;
  assert.equal(intent.status, 'requires_action');
  await control(`payment_intents/${intent.id}/authenticate`, { succeed: true });
  assert.equal((await api.subscriptions.retrieve(waiting.id)).status, 'active');
});

check('a card that fails', async () => {
  const customer = await customerWith('pm_card_chargeCustomerFail');
  const failing = await subscribe(customer, price);
  assert.equal(failing.status, 'incomplete');
  const error = await raises(errors.StripeCardError, () => api.invoices.pay(failing.latest_invoice));
  assert.deepEqual([error.code, error.decline_code], ['card_declined', 'generic_decline']);
  assert.match(error.requestId, /^req_/);
  const strict = () => subscribe(customer, price, { payment_behavior: 'error_if_incomplete' });
  await raises(errors.StripeCardError, strict);
  assert.equal((await api.invoices.pay(failing.latest_invoice, { payment_method: 'pm_card_visa' })).status, 'paid');
  assert.equal((await api.subscriptions.retrieve(failing.id)).status, 'active');
});

check('checkout, customer portal, entitlements', async () => {
  const feature = await api.entitlements.features.create({ lookup_key: unique('relay'), name: 'Relay' });
  await api.products.createFeature(price.product, { entitlement_feature: feature.id });
  const session = await api.checkout.sessions.create({
    mode: 'subscription', line_items: [{ price: price.id, quantity: 1 }], success_url: 'https://shop.example/done',
  });
  assert.deepEqual([session.status, session.payment_status], ['open', 'unpaid']);
  await control(`checkout/sessions/${session.id}/complete`, {});
  const done = await api.checkout.sessions.retrieve(session.id, { expand: ['subscription', 'line_items'] });
  assert.deepEqual([done.status, done.subscription.status], ['complete', 'active']);
  assert.equal(done.line_items.data[0].price.id, price.id);
  const entitled = await api.entitlements.activeEntitlements.list({ customer: done.customer });
  assert.equal(entitled.data[0].lookup_key, feature.lookup_key);
  const portal = await api.billingPortal.sessions.create({ customer: done.customer });
  await control(`portal/sessions/${portal.id}/cancel`, {});
  assert.equal((await api.subscriptions.retrieve(done.subscription.id)).cancel_at_period_end, true);
});

check('lists page by themselves', async () => {
  const word = unique('n');
  for (let number = 0; number < 25; number += 1) {
    await api.customers.create({ name: `${word} ${number}` });
  }
  const names = new Set();
  for await (const event of api.events.list({ types: ['customer.created'], limit: 10 })) {
    const { name } = event.data.object;
    if (name?.startsWith(word)) {
      names.add(name);
    }
    if (names.size === 25) {
      break;
    }
  }
  assert.equal(names.size, 25);
  const page = await api.customers.list({ limit: 3 });
  assert.deepEqual([page.data.length, page.has_more], [3, true]);
  const before = await api.customers.list({ limit: 2, ending_before: page.data[2].id });
  assert.deepEqual(before.data.map((one) => one.id), page.data.slice(0, 2).map((one) => one.id));
});

check('idempotency keys', async () => {
  const key = { idempotencyKey: unique('k') };
  const first = await api.customers.create({ name: 'once' }, key);
  const second = await api.customers.create({ name: 'once' }, key);
  assert.equal(second.id, first.id);
  assert.equal(second.lastResponse.headers['idempotent-replayed'], 'true');
  const error = await raises(errors.StripeIdempotencyError, () => api.customers.create({ name: 'twice' }, key));
  assert.equal(error.statusCode, 400);
  const busy = { idempotencyKey: unique('busy') };
  await control('faults', { kind: 'slow', delay_ms: 4_000, idempotency_key: busy.idempotencyKey });
  const slow = api.customers.create({ name: 'slow' }, busy);
  await eventually('the slow request is under way', async () => (await control('faults')).data.length === 0);
  // The SDK has no class of its own for a key in use.
  const inUse = await raises(errors.StripeAPIError, () => api.customers.create({ name: 'slow' }, busy));
  assert.deepEqual([inUse.statusCode, inUse.code], [409, 'idempotency_key_in_use']);
  assert.equal((await slow).name, 'slow');
});

check('errors have their classes', async () => {
  const bad = () => api.subscriptions.create({ customer: 'cus_none', items: [{ price: price.id }] });
  assert.equal((await raises(errors.StripeInvalidRequestError, bad)).param, 'customer');
  await control('faults', { kind: 'error', status: 429, retry_after_s: 7 });
  const limited = await raises(errors.StripeRateLimitError, () => api.customers.list());
  assert.equal(limited.headers['retry-after'], '7');
  const foreign = () => api.customers.list({}, { stripeAccount: 'nobody' });
  await raises(errors.StripePermissionError, foreign);
  await control('faults', { kind: 'error', status: 500 });
  await raises(errors.StripeAPIError, () => api.customers.list());
  await control('faults', { kind: 'html', status: 502 });
  await raises(errors.StripeAPIError, () => api.customers.list());
  // The SDK asks once more by itself when a connection is closed, whatever it was told.
  await control('faults', { kind: 'reset', times: 2 });
  await raises(errors.StripeConnectionError, () => api.customers.list());
  await control('faults', { kind: 'timeout', delay_ms: 60_000 });
  await raises(errors.StripeConnectionError, () => client({ timeout: 200 }).customers.list());
});

check('the SDK retries with the same key', async () => {
  const patient = client({ maxNetworkRetries: 2 });
  const faults = [
    { kind: 'error', status: 429, should_retry: true },
    { kind: 'error', status: 409, should_retry: true },
    { kind: 'html', status: 502 },
    { kind: 'reset' },
    { kind: 'reset', stage: 'after' },
  ];
  for (const fault of faults) {
    await control('requests', undefined, 'DELETE');
    await control('faults', { method: 'POST', path: '/v1/customers', ...fault });
    const name = unique('retried');
    assert.equal((await patient.customers.create({ name })).name, name);
    const counts = Object.values((await control('requests')).by_key);
    assert.deepEqual([counts.length, counts[0].executed], [1, 1], JSON.stringify(fault));
  }
});

check('webhooks are verified by the SDK', async () => {
  const here = await receiver();
  const endpoint = await api.webhookEndpoints.create({ url: here.url, enabled_events: ['customer.created'] });
  here.answers.push(500);
  const made = await api.customers.create({ name: 'hooked' });
  const [first, second] = [await here.next(), await here.next()];
  assert.ok(first[0].equals(second[0]), 'retried with the same body');
  for (const [body, signature] of [first, second]) {
    const event = api.webhooks.constructEvent(body, signature, endpoint.secret);
    assert.deepEqual([event.type, event.data.object.id], ['customer.created', made.id]);
  }
  const forged = async () => api.webhooks.constructEvent(first[0], first[1], 'whsec_another_secret');
  await raises(errors.StripeSignatureVerificationError, forged);
  const rolled = await control(`webhook_endpoints/${endpoint.id}/roll`, {});
  await api.customers.create({ name: 'rolled' });
  const [body, signature] = await here.next();
  for (const secret of [endpoint.secret, rolled.secret]) {
    assert.equal(api.webhooks.constructEvent(body, signature, secret).type, 'customer.created');
  }
  assert.equal((await api.webhookEndpoints.del(endpoint.id)).deleted, true);
  here.close();
});

check('thin events', async () => {
  const here = await receiver();
  const destination = await api.v2.core.eventDestinations.create({
    name: 'thin', type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.customer.created'],
    webhook_endpoint: { url: here.url }, include: ['webhook_endpoint.signing_secret'],
  });
  const made = await api.customers.create({ name: 'thin' });
  const note = api.parseEventNotification(...(await here.next()), destination.webhook_endpoint.signing_secret);
  assert.deepEqual([note.type, note.related_object.id], ['v1.customer.created', made.id]);
  assert.equal((await note.fetchRelatedObject()).name, 'thin');
  assert.equal((await note.fetchEvent()).id, note.id);
  await api.v2.core.eventDestinations.del(destination.id);
  here.close();
});

check('test clocks', async () => {
  const clock = await api.testHelpers.testClocks.create({ frozen_time: 1_700_000_000 });
  const customer = await customerWith('pm_card_visa', { test_clock: clock.id });
  const made = await subscribe(customer, price);
  const there = made.items.data[0].current_period_end + 3_700;
  const moving = await api.testHelpers.testClocks.advance(clock.id, { frozen_time: there });
  assert.equal(moving.status_details.advancing.target_frozen_time, there);
  await eventually('ready', async () => (await api.testHelpers.testClocks.retrieve(clock.id)).status === 'ready');
  const renewed = await api.subscriptions.retrieve(made.id, { expand: ['latest_invoice'] });
  assert.deepEqual([renewed.latest_invoice.billing_reason, renewed.latest_invoice.status], ['subscription_cycle', 'paid']);
  assert.equal((await api.testHelpers.testClocks.del(clock.id)).deleted, true);
});

run();
