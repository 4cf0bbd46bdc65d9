// Pages of headless Chromium, and what runs in them.

import { PATIENCE_MS, program } from "./system.mjs";

/** Headless Chromium with an empty profile. */
export async function browser(more = []) {
  const { chromium } = await import(program("PLAYWRIGHT"));
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  return chromium.launch({
    executablePath: program("CHROMIUM"),
    args: [...flags, "--disable-component-update", "--disable-sync", ...more],
  });
}

/** A page of its own profile at the system's example, with what went wrong in it. */
export async function page(chromium, system, path = "/example/") {
  const context = await chromium.newContext({ viewport: { width: 1000, height: 640 }, locale: "en-GB" });
  const opened = await context.newPage();
  opened.errors = [];
  opened.on("pageerror", (error) => opened.errors.push(String(error)));
  opened.setDefaultTimeout(PATIENCE_MS);
  await opened.goto(system.url + path);
  return opened;
}

/** A page with a connected peer in `window.own`. */
export async function peerPage(chromium, system, name) {
  const opened = await page(chromium, system);
  await opened.evaluate(connect, name);
  return opened;
}

/** In the page: connects, and keeps what happens. */
async function connect(name) {
  const sdk = await import("/example/dist/index.js");
  const papers = async () => {
    const body = JSON.stringify({ peer_id: name });
    const response = await fetch("papers", { method: "POST", headers: { "content-type": "application/json" }, body });
    return response.json();
  };
  const gateway = new sdk.Gateway({ url: `ws://${location.host}/v1/ws`, peerId: name, papers, longestWaitMs: 1_000 });
  const peers = new sdk.Peers(gateway);
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(...options) {
      super(...options);
      window.own.connection = this;
    }
  };
  const own = { sdk, gateway, peers, texts: [], bytes: [], closed: [], states: [] };
  const follow = (channel) => {
    own.channel = channel;
    channel.on("message", (message) => (typeof message === "string" ? own.texts.push(message) : own.bytes.push(message)));
    channel.on("closed", ({ reason }) => own.closed.push(reason));
    channel.on("state", (state) => own.states.push(state));
  };
  own.dial = (other) => {
    follow(peers.channel(other));
    return own.channel.opened.then(() => {});
  };
  own.hash = async (bytes) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].join(".");
  own.received = async (first) => own.hash(await new Blob(own.bytes).slice(0, first).arrayBuffer());
  own.sizeOf = () => own.bytes.reduce((sum, { byteLength }) => sum + byteLength, 0);
  // Some stacks send texts as bytes.
  own.spoken = () => [...own.texts, ...own.bytes.map((bytes) => new TextDecoder().decode(bytes))];
  peers.on("channel", follow);
  window.own = own;
  await gateway.open();
}

/** In the page: whether there is a channel. */
export const channelIsOpen = () => window.own.channel?.state === "open";

/** In the page: sends so much noise, then `done`; its hash. */
export async function sendRandom(mebibytes) {
  const bytes = new Uint8Array(mebibytes * 1024 * 1024);
  for (let at = 0; at < bytes.length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  await window.own.channel.sendAll(bytes);
  await window.own.channel.send("done");
  return window.own.hash(bytes);
}
