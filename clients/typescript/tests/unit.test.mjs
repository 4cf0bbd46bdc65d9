// The SDK's parts without a network.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Backoff, Closed, Gateway, Refused } from "../dist/index.js";
import { refreshAfterMs } from "../dist/papers.js";

function jwt(claims) {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.sig`;
}

test("waits double up to their bound, and a success starts anew", () => {
  const backoff = new Backoff(500, 30_000, () => 1);
  const waits = Array.from({ length: 9 }, () => backoff.next());
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
  for (let attempt = 0; attempt < 2_000; attempt += 1) {
    assert.ok(backoff.next() <= 30_000);
  }
});

test("waits are spread from zero on", () => {
  assert.equal(new Backoff(500, 30_000, () => 0).next(), 0);
  assert.equal(new Backoff(500, 30_000, () => 0.5).next(), 250);
});

test("papers are renewed at 60 % of the shortest life, whatever this machine's clock says", () => {
  const proof = jwt({ iat: 1_000, exp: 1_300 });
  assert.equal(refreshAfterMs({ proof }), 180_000);
  assert.equal(refreshAfterMs({ proof, token: jwt({ iat: 1_000, exp: 1_100 }) }), 60_000);
  assert.equal(refreshAfterMs({ proof: "opaque", ticket: "t" }), undefined);
  assert.equal(refreshAfterMs({ proof: jwt({ iat: 5, exp: 5 }) }), undefined);
});

/** A gateway of paper: takes connections, records frames, says what the test wants. */
class FakeSocket {
  static all = [];
  readyState = 1;
  sent = [];
  answersPings = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    FakeSocket.all.push(this);
  }

  send(text) {
    const frame = JSON.parse(text);
    this.sent.push(frame);
    if (frame.type === "ping" && this.answersPings) {
      this.say({ type: "outcome", id: frame.id, outcome: "accepted" });
    }
  }

  close() {
    this.readyState = 3;
  }

  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  hello() {
    this.say({ type: "hello", protocol: "synapse.v1", heartbeat_ms: 15_000 });
    return this.sent.at(-1);
  }

  accept(result) {
    const { id } = this.hello();
    this.say({ type: "outcome", id, outcome: "accepted", result: { peer_id: "ada", generation: 1, ...result } });
  }
}

async function turn() {
  for (let n = 0; n < 20; n += 1) {
    await Promise.resolve();
  }
}

/** Runs `body` with paper sockets and a clock that only it moves. */
function paperTest(name, body) {
  test(name, async () => {
    const real = globalThis.WebSocket;
    globalThis.WebSocket = FakeSocket;
    FakeSocket.all = [];
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    mock.method(Math, "random", () => 1);
    try {
      await body();
    } finally {
      mock.timers.reset();
      mock.restoreAll();
      globalThis.WebSocket = real;
    }
  });
}

const proof = jwt({ iat: 0, exp: 300 });
const last = () => FakeSocket.all.at(-1);

async function opened(options = {}) {
  const states = [];
  const gateway = new Gateway({ url: "ws://x/v1/ws", peerId: "ada", papers: () => ({ ticket: "t", proof }), ...options });
  gateway.on("state", ({ name }) => states.push(name));
  const opening = gateway.open();
  await turn();
  last().accept({ epoch: "e1", offset: 7 });
  await opening;
  return { gateway, states, socket: last() };
}

paperTest("it speaks synapse.v1 and shows its papers in the first frame, not in the address", async () => {
  const { socket } = await opened();
  assert.deepEqual([socket.url, socket.protocols], ["ws://x/v1/ws", ["synapse.v1"]]);
  const { type, ticket, peer_id, acks, resume } = socket.sent[0];
  assert.deepEqual([type, ticket, peer_id, acks, resume], ["auth", "t", "ada", true, undefined]);
});

paperTest("after a loss it waits, comes back with its position, and takes in what it missed once", async () => {
  const { gateway, states, socket } = await opened();
  const texts = [];
  gateway.on("message", ({ message }) => texts.push(message));
  socket.say({ type: "message", offset: 8, from: "bob", action: "chat", message: "one" });
  assert.deepEqual(socket.sent.at(-1), { type: "ack", id: "ack", offset: 8 });
  socket.drop();
  await turn();
  assert.equal(FakeSocket.all.length, 1);
  mock.timers.tick(500);
  await turn();
  const again = last();
  assert.deepEqual(again.hello().resume, { epoch: "e1", offset: 8 });
  again.say({ type: "outcome", id: again.sent[0].id, outcome: "accepted", result: { epoch: "e2", offset: 0, resume: "recovered" } });
  again.say({ type: "message", offset: 1, from: "bob", action: "chat", message: "two" });
  assert.deepEqual(texts, ["one", "two"]);
  assert.deepEqual(gateway.position, { epoch: "e2", offset: 1 });
  assert.deepEqual(states, ["connecting", "connecting", "open", "waiting", "connecting", "open"]);
});

paperTest("a gap is told, and rooms are joined again first", async () => {
  const { gateway, socket } = await opened();
  const joined = gateway.join("lobby");
  socket.say({ type: "outcome", id: socket.sent.at(-1).id, outcome: "accepted" });
  await joined;
  let gaps = 0;
  gateway.on("gap", () => (gaps += 1));
  socket.drop();
  await turn();
  mock.timers.tick(500);
  await turn();
  last().accept({ epoch: "e2", offset: 0, resume: "gap" });
  assert.equal(gaps, 1);
  assert.deepEqual(last().sent.at(-1), { type: "room", action: "join", room: "lobby", id: last().sent.at(-1).id });
});

paperTest("what had no outcome when the connection ended is told as such", async () => {
  const { gateway, socket } = await opened();
  const message = gateway.message("bob", "chat", "hello");
  socket.drop();
  await assert.rejects(message, { name: "Disconnected" });
  await assert.rejects(gateway.message("bob", "chat", "hello"), { name: "Disconnected" });
});

paperTest("a refusal has its code and says why", async () => {
  const { gateway, socket } = await opened();
  const message = gateway.message("bob", "chat", "hello");
  const problem = { code: "peer_offline", title: "The peer is offline", detail: "bob left" };
  socket.say({ type: "outcome", id: socket.sent.at(-1).id, outcome: "refused", problem });
  const refused = await message.catch((error) => error);
  assert.ok(refused instanceof Refused);
  assert.deepEqual([refused.code, refused.message], ["peer_offline", "The peer is offline: bob left"]);
});

paperTest("the server's hint is the wait", async () => {
  const { socket } = await opened();
  socket.say({ type: "closing", code: 1012, reason: "service_restart", reconnect_after_ms: 4_200 });
  socket.drop(1012, "service_restart");
  await turn();
  mock.timers.tick(4_199);
  await turn();
  assert.equal(FakeSocket.all.length, 1);
  mock.timers.tick(1);
  await turn();
  assert.equal(FakeSocket.all.length, 2);
});

for (const code of [4400, 4402, 4409, 4411]) {
  paperTest(`${code} is final`, async () => {
    const { gateway, socket } = await opened();
    socket.drop(code, "final");
    await turn();
    mock.timers.tick(120_000);
    await turn();
    assert.equal(FakeSocket.all.length, 1);
    assert.deepEqual(gateway.state, { name: "closed", code, reason: "final" });
    const closed = await gateway.ready().catch((error) => error);
    assert.ok(closed instanceof Closed && closed.code === code);
  });
}

paperTest("papers that are refused three times in a row end it; each time there were new ones", async () => {
  let asked = 0;
  const gateway = new Gateway({
    url: "ws://x",
    peerId: "ada",
    papers: () => {
      asked += 1;
      return { ticket: `t${asked}`, proof };
    },
  });
  const opening = gateway.open();
  const failed = assert.rejects(opening, { name: "Closed", code: 4403 });
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await turn();
    const { id, ticket } = last().hello();
    assert.equal(ticket, `t${attempt}`);
    const problem = { code: "proof_refused", title: "The proof is refused" };
    last().say({ type: "outcome", id, outcome: "refused", problem });
    last().drop(4403, "proof_refused");
    await turn();
    mock.timers.tick(30_000);
  }
  await failed;
  assert.equal(asked, 3);
});

paperTest("papers that can't be had the first time are the caller's error, later they are tried again", async () => {
  const gateway = new Gateway({ url: "ws://x", peerId: "ada", papers: () => Promise.reject(new Error("signed out")) });
  await assert.rejects(gateway.open(), { message: "signed out" });
  let good = true;
  const { socket } = await opened({ papers: async () => (good ? { ticket: "t", proof } : Promise.reject(new Error("down"))) });
  good = false;
  socket.drop();
  await turn();
  mock.timers.tick(500);
  await turn();
  good = true;
  mock.timers.tick(1_000);
  await turn();
  assert.notEqual(last(), socket);
});

paperTest("new papers are shown before the old ones end", async () => {
  const { socket } = await opened();
  // Step by step: pings in between want their outcomes, or the line counts as dead.
  socket.answersPings = true;
  for (let second = 1; second < 180; second += 1) {
    mock.timers.tick(1_000);
    await turn();
  }
  const refreshes = () => socket.sent.filter(({ type }) => type === "refresh");
  assert.equal(refreshes().length, 0);
  mock.timers.tick(1_000);
  await turn();
  assert.deepEqual(refreshes().map(({ ticket, proof: shown }) => [ticket, shown]), [["t", proof]]);
  assert.equal(FakeSocket.all.length, 1);
});

paperTest("a line that swallows everything is given up after two pings", async () => {
  const { gateway, socket } = await opened();
  mock.timers.tick(7_500);
  assert.equal(socket.sent.at(-1).type, "ping");
  socket.say({ type: "outcome", id: socket.sent.at(-1).id, outcome: "accepted" });
  await turn();
  mock.timers.tick(7_500);
  assert.equal(gateway.state.name, "open");
  mock.timers.tick(7_500);
  await turn();
  assert.equal(gateway.state.name, "waiting");
  assert.equal(socket.readyState, 3);
});

paperTest("a listener that throws harms no other", async () => {
  const { gateway, socket } = await opened();
  const { mock: uncaught } = mock.method(globalThis, "queueMicrotask", () => {});
  const heard = [];
  gateway.on("message", () => {
    throw new Error("a listener's own");
  });
  gateway.on("message", ({ message }) => heard.push(message));
  socket.say({ type: "message", offset: 8, from: "bob", action: "chat", message: "one" });
  assert.deepEqual(heard, ["one"]);
  assert.throws(uncaught.calls[0].arguments[0], { message: "a listener's own" });
});

paperTest("frames newer than this client do no harm", async () => {
  const { gateway, socket } = await opened();
  socket.say({ type: "hologram", offset: 8 });
  socket.say({ type: "weather" });
  assert.deepEqual([gateway.state.name, gateway.position], ["open", { epoch: "e1", offset: 8 }]);
});

paperTest("of several gateways the next one is tried", async () => {
  const { gateway, socket } = await opened({ url: ["ws://one", "ws://two"] });
  assert.equal(socket.url, "ws://one");
  socket.drop();
  await turn();
  mock.timers.tick(500);
  await turn();
  assert.deepEqual([last().url, gateway.url], ["ws://two", "ws://two"]);
  last().drop();
  await turn();
  mock.timers.tick(1_000);
  await turn();
  assert.equal(last().url, "ws://one");
});

paperTest("closing is for good", async () => {
  const { gateway } = await opened();
  gateway.close();
  await turn();
  mock.timers.tick(60_000);
  await turn();
  assert.deepEqual([FakeSocket.all.length, gateway.state.name], [1, "closed"]);
});
