// The SDK in pages of headless Chromium: data channels through a gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { browser, channelIsOpen, peerPage, sendRandom } from "./chromium.mjs";
import { eventually, PATIENCE_MS, System } from "./system.mjs";

const timeout = 2 * PATIENCE_MS;
/** What is sent each way; big enough to fill every buffer on the way. */
const MEBIBYTES = 4;
let system;
let chromium;

before(async () => {
  [system, chromium] = await Promise.all([System.start(), browser()]);
});

after(async () => {
  await chromium.close();
  await system.stop();
});

const peer = (name) => peerPage(chromium, system, name);

test("two pages open a channel and exchange megabytes, byte for byte", { timeout }, async () => {
  const [ada, bob] = [await peer("x-ada"), await peer("x-bob")];
  await ada.evaluate(() => window.own.dial("x-bob"));
  await bob.waitForFunction(channelIsOpen);
  const path = await ada.evaluate(() => window.own.channel.path());
  assert.equal(path.kind, "direct");
  const [one, two] = await Promise.all([ada.evaluate(sendRandom, MEBIBYTES), bob.evaluate(sendRandom, MEBIBYTES)]);
  for (const [receiver, hash] of [[bob, one], [ada, two]]) {
    await receiver.waitForFunction(() => window.own.texts.includes("done"));
    assert.equal(await receiver.evaluate(() => window.own.received()), hash);
  }
  assert.deepEqual([ada.errors, bob.errors], [[], []]);
});

test("both dial at once and share one channel", { timeout }, async () => {
  const [ada, bob] = [await peer("d-ada"), await peer("d-bob")];
  await Promise.all([ada.evaluate(() => window.own.dial("d-bob")), bob.evaluate(() => window.own.dial("d-ada"))]);
  await ada.evaluate(() => window.own.channel.send("from ada"));
  await bob.evaluate(() => window.own.channel.send("from bob"));
  await ada.waitForFunction(() => window.own.texts.join() === "from bob");
  await bob.waitForFunction(() => window.own.texts.join() === "from ada");
  const ids = await Promise.all([ada, bob].map((side) => side.evaluate(() => window.own.channel.sessionId)));
  assert.equal(ids[0], ids[1]);
});

test("both look for a new path at once, and the channel stays open", { timeout }, async () => {
  const [ada, bob] = [await peer("g-ada"), await peer("g-bob")];
  await ada.evaluate(() => window.own.dial("g-bob"));
  await bob.waitForFunction(channelIsOpen);
  const name = () => /a=ice-ufrag:(\S+)/.exec(window.own.connection.localDescription.sdp)[1];
  const isAnew = (before) => {
    const { localDescription, signalingState } = window.own.connection;
    return signalingState === "stable" && /a=ice-ufrag:(\S+)/.exec(localDescription.sdp)[1] !== before;
  };
  for (let round = 1; round <= 3; round += 1) {
    const before = await Promise.all([ada, bob].map((side) => side.evaluate(name)));
    // Offers of both are under way at once.
    await Promise.all([ada, bob].map((side) => side.evaluate(() => window.own.channel.restart())));
    await Promise.all([ada, bob].map((side, at) => side.waitForFunction(isAnew, before[at])));
    for (const [sender, receiver] of [[ada, bob], [bob, ada]]) {
      await sender.evaluate((n) => window.own.channel.send(`round ${n}`), round);
      await receiver.waitForFunction((n) => window.own.texts.includes(`round ${n}`), round);
    }
  }
  const settled = await Promise.all([ada, bob].map((side) => side.evaluate(() => window.own.closed)));
  assert.deepEqual(settled, [[], []]);
});

test("closing is told to the other side, and a new channel can follow", { timeout }, async () => {
  const [ada, bob] = [await peer("e-ada"), await peer("e-bob")];
  await ada.evaluate(() => window.own.dial("e-bob"));
  await bob.waitForFunction(channelIsOpen);
  await ada.evaluate(() => window.own.channel.close());
  await bob.waitForFunction(() => window.own.closed.length === 1);
  assert.deepEqual(await bob.evaluate(() => window.own.closed), ["ended_by_peer"]);
  assert.deepEqual(await ada.evaluate(() => window.own.closed), ["closed"]);
  await bob.evaluate(() => window.own.dial("e-ada"));
  await ada.waitForFunction(channelIsOpen);
});

test("a channel to nobody fails with the reason, and one that is too large is refused", { timeout }, async () => {
  const ada = await peer("z-ada");
  const reason = await ada.evaluate(() => window.own.dial("z-nobody").catch(({ name, reason }) => `${name} ${reason}`));
  assert.equal(reason, "ChannelClosed refused");
  await peer("z-bob");
  await ada.evaluate(() => window.own.dial("z-bob"));
  const { sizes, limit } = await ada.evaluate(async () => {
    const limit = window.own.sdk.MAX_MESSAGE_BYTES;
    const sent = [1, limit, 0, limit + 1].map((size) => window.own.channel.send(new Uint8Array(size)));
    const sizes = await Promise.all(sent.map((one) => one.then(() => "sent", ({ name }) => name)));
    return { sizes, limit };
  });
  assert.deepEqual([sizes, limit], [["sent", "sent", "RangeError", "RangeError"], 16_384]);
});

test("a killed gateway ends no channel; once it is back, peers meet through it again", { timeout }, async () => {
  const own = await System.start();
  const [ada, bob] = await Promise.all(
    ["k-ada", "k-bob"].map((name) => peerPage(chromium, own, name)),
  );
  await ada.evaluate(() => window.own.dial("k-bob"));
  await bob.waitForFunction(channelIsOpen);
  await own.kill();
  await ada.waitForFunction(() => window.own.gateway.state.name !== "open");
  await ada.evaluate(() => window.own.channel.send("without a gateway"));
  await bob.waitForFunction(() => window.own.texts.includes("without a gateway"));
  await own.start();
  for (const side of [ada, bob]) {
    await side.waitForFunction(() => window.own.gateway.state.name === "open");
  }
  assert.equal(await ada.evaluate(() => window.own.gateway.message("k-bob", "chat", "back")), "delivered");
  await ada.evaluate(() => window.own.channel.close());
  await eventually("a new channel", () => ada.evaluate(() => window.own.dial("k-bob").then(() => true)));
  await bob.waitForFunction(channelIsOpen);
  await ada.evaluate(() => window.own.channel.send("and again"));
  await bob.waitForFunction(() => window.own.texts.includes("and again"));
  await Promise.all([ada, bob].map((side) => side.context().close()));
  await own.stop();
});
