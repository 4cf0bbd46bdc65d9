// The SDK in Node against a gateway of its own: messages, presence, rooms, and coming back after every kind of loss.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Gateway } from "../dist/index.js";
import { eventually, Line, PATIENCE_MS, System } from "./system.mjs";

const timeout = 2 * PATIENCE_MS;
let system;
const open = new Set();

before(async () => {
  system = await System.start();
});

after(async () => {
  open.forEach((gateway) => gateway.close());
  await system.stop();
});

/** A connected peer and everything it hears. */
async function peer(peerId, options = {}) {
  const papers = () => system.papers(peerId);
  const gateway = new Gateway({ url: system.socket, peerId, papers, longestWaitMs: 1_000, ...options });
  open.add(gateway);
  const heard = { messages: [], presence: [], states: [], gaps: 0 };
  gateway.on("message", (message) => heard.messages.push(message));
  gateway.on("presence", ({ peer_id, status }) => heard.presence.push(`${peer_id} ${status}`));
  gateway.on("state", (state) => heard.states.push(state));
  gateway.on("gap", () => (heard.gaps += 1));
  await gateway.open();
  return { gateway, heard };
}

test("a message arrives once, and its sender learns that it was taken in", { timeout }, async () => {
  const [ada, bob] = [await peer("m-ada"), await peer("m-bob")];
  assert.equal(await ada.gateway.message("m-bob", "chat", "hello"), "delivered");
  const { from, action, message } = bob.heard.messages[0];
  assert.deepEqual([from, action, message, bob.heard.messages.length], ["m-ada", "chat", "hello", 1]);
});

test("a message to nobody is refused by name", { timeout }, async () => {
  const { gateway } = await peer("n-ada");
  await assert.rejects(gateway.message("n-nobody", "chat", "hello"), { name: "Refused", code: "peer_unknown" });
  await assert.rejects(gateway.message("n-ada", "chat", ""), { name: "Refused", code: "validation_failed" });
  // A refusal is no reason to leave.
  assert.equal(gateway.state.name, "open");
});

test("peers are seen coming, changing and going, and only while that is wanted", { timeout }, async () => {
  const ada = await peer("p-ada");
  const bob = await peer("p-bob");
  await eventually("bob to come", () => ada.heard.presence.includes("p-bob online"));
  await bob.gateway.setStatus("away");
  await eventually("bob to be away", () => ada.heard.presence.includes("p-bob away"));
  assert.ok((await ada.gateway.everybody()).some(({ peer_id, status }) => peer_id === "p-bob" && status === "away"));
  bob.gateway.close();
  await eventually("bob to go", () => ada.heard.presence.includes("p-bob offline"));
  await ada.gateway.subscribe(false);
  const told = ada.heard.presence.length;
  const cleo = await peer("p-cleo");
  // Comes after what presence would have told.
  assert.equal(await cleo.gateway.message("p-ada", "chat", "here"), "delivered");
  assert.equal(ada.heard.presence.length, told);
});

test("a broadcast reaches the room and not its sender", { timeout }, async () => {
  const [ada, bob, cleo] = [await peer("r-ada"), await peer("r-bob"), await peer("r-cleo")];
  await Promise.all([ada, bob].map(({ gateway }) => gateway.join("lobby")));
  await ada.gateway.broadcast({ scope: "room", room: "lobby" }, "chat", "everybody");
  await eventually("bob to hear it", () => bob.heard.messages.length === 1);
  await assert.rejects(cleo.gateway.broadcast({ scope: "room", room: "lobby" }, "chat", "me too"), { code: "forbidden" });
  await bob.gateway.leave("lobby");
  await assert.rejects(bob.gateway.broadcast({ scope: "room", room: "lobby" }, "chat", "bye"), { code: "forbidden" });
  assert.deepEqual([ada.heard.messages.length, cleo.heard.messages.length], [0, 0]);
});

test("papers are renewed on the live connection", { timeout }, async () => {
  const { gateway, heard } = await peer("f-ada");
  await gateway.refresh();
  assert.deepEqual(heard.states.map(({ name }) => name), ["connecting", "connecting", "open"]);
});

test("after a cut line everything missed follows, once and in order", { timeout }, async () => {
  const line = await Line.to(system.port);
  const ada = await peer("c-ada");
  // It waits long enough that something is missed.
  const bob = await peer("c-bob", { url: `ws://127.0.0.1:${line.port}/v1/ws`, firstWaitMs: 1_000 });
  await bob.gateway.join("cut");
  await ada.gateway.join("cut");
  line.cut();
  await eventually("bob to notice", () => bob.heard.states.some(({ name }) => name === "waiting"));
  for (const text of ["one", "two", "three"]) {
    await ada.gateway.broadcast({ scope: "room", room: "cut" }, "chat", text);
  }
  await eventually("bob to be back", () => bob.heard.messages.length >= 3);
  assert.deepEqual(bob.heard.messages.map(({ message }) => message), ["one", "two", "three"]);
  assert.deepEqual([bob.gateway.state, bob.heard.gaps], [{ name: "open", resumed: "recovered" }, 0]);
  line.close();
});

test("a position outlives its page", { timeout }, async () => {
  const ada = await peer("o-ada");
  const first = await peer("o-bob");
  assert.equal(await ada.gateway.message("o-bob", "chat", "one"), "delivered");
  const { position } = first.gateway;
  const second = await peer("o-bob", { resume: position });
  assert.deepEqual([second.gateway.state.resumed, second.heard.gaps], ["recovered", 0]);
  const third = await peer("o-bob", { resume: { ...position, epoch: "nobody.0" } });
  assert.deepEqual([third.gateway.state.resumed, third.heard.gaps], ["gap", 1]);
});

test("a newer connection of the same peer stands, and the older one stays away", { timeout }, async () => {
  const older = await peer("t-ada");
  const newer = await peer("t-ada");
  await eventually("the older one to end", () => older.gateway.state.name === "closed");
  assert.equal(older.gateway.state.code, 4409);
  await newer.gateway.peers();
  assert.equal(newer.gateway.state.name, "open");
});

test("papers that are no good end it with the reason", { timeout }, async () => {
  const papers = async () => ({ ...(await system.papers("b-somebody")) });
  const gateway = new Gateway({ url: system.socket, peerId: "b-ada", papers, firstWaitMs: 1 });
  const closed = await gateway.open().catch((error) => error);
  assert.deepEqual([closed.name, closed.code], ["Closed", 4403]);
  assert.match(closed.reason, /proof/i);
});

test("a stopping gateway says when to come back, and the client does", { timeout }, async () => {
  const own = await System.start();
  const papers = () => own.papers("s-ada");
  const ada = await peer("s-ada", { url: own.socket, papers });
  await ada.gateway.join("lobby");
  const stopping = own.terminate();
  const waiting = ({ name }) => name === "waiting";
  const { retryInMs, reason } = await eventually("the goodbye", () => ada.heard.states.find(waiting));
  assert.ok(retryInMs >= 500 && retryInMs <= 10_500, `${retryInMs}`);
  assert.equal(reason, "service_restart");
  await stopping;
  await own.start();
  await eventually("the return", () => ada.gateway.state.name === "open");
  // Another process: nobody knows what was missed, and that is said. The room is there again.
  assert.equal(ada.heard.gaps, 1);
  await eventually("the room", () =>
    ada.gateway.broadcast({ scope: "room", room: "lobby" }, "chat", "again").then(() => true),
  );
  await own.stop();
});

test("a killed gateway is found again as soon as it is back", { timeout }, async () => {
  const own = await System.start();
  const [ada, bob] = await Promise.all(
    ["k-ada", "k-bob"].map((name) => peer(name, { url: own.socket, papers: () => own.papers(name) })),
  );
  await own.kill();
  await eventually("both to notice", () => [ada, bob].every(({ gateway }) => gateway.state.name !== "open"));
  await own.start();
  await Promise.all([ada.gateway.ready(), bob.gateway.ready()]);
  assert.equal(await ada.gateway.message("k-bob", "chat", "still here"), "delivered");
  assert.deepEqual(bob.heard.messages.map(({ message }) => message), ["still here"]);
  await own.stop();
});

test("a line that went silent is noticed", { timeout }, async () => {
  const own = await System.start({ SYNAPSE_GATEWAY__HEARTBEAT_MS: "1000" });
  const line = await Line.to(own.port);
  const url = `ws://127.0.0.1:${line.port}/v1/ws`;
  const ada = await peer("l-ada", { url, papers: () => own.papers("l-ada") });
  line.stall();
  await eventually("it to notice", () => ada.heard.states.some(({ name }) => name === "waiting"));
  await ada.gateway.ready();
  assert.equal(ada.gateway.state.resumed, "recovered");
  ada.gateway.close();
  line.close();
  await own.stop();
});
