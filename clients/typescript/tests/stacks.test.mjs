// The SDK in Chromium against other WebRTC stacks: the Rust SDK (str0m) and aiortc, each dialing and dialed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { browser, channelIsOpen, peerPage, sendRandom } from "./chromium.mjs";
import { eventually, PATIENCE_MS, program, System } from "./system.mjs";

const timeout = 2 * PATIENCE_MS;
const MEBIBYTES = 1;
const STACKS = {
  str0m: () => [program("ECHO")],
  aiortc: () => [program("AIORTC"), "-B", fileURLToPath(new URL("aiortc_echo.py", import.meta.url))],
};
let system;
let chromium;
const children = new Set();

before(async () => {
  [system, chromium] = await Promise.all([System.start(), browser()]);
});

after(async () => {
  children.forEach((child) => child.kill("SIGKILL"));
  await chromium.close();
  await system.stop();
});

/** A peer of another stack that echoes, once it is connected. */
async function echo(stack, name, ...dial) {
  const { token, proof } = await system.tokenAndProof(name);
  const [command, ...before] = STACKS[stack]();
  const child = spawn(command, [...before, system.socket, token, proof, name, ...dial], { stdio: "pipe" });
  children.add(child);
  let said = "";
  const hear = (text) => (said += text);
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  await eventually(`${stack} to be connected`, () => {
    assert.equal(child.exitCode, null, said);
    return said.includes(`${name} is here`);
  });
  return { child, said: () => said };
}

for (const stack of Object.keys(STACKS)) {
  test(`a page dials ${stack}, and gets everything back byte for byte`, { timeout }, async () => {
    await echo(stack, `${stack}-echo`);
    const ada = await peerPage(chromium, system, `${stack}-ada`);
    await ada.evaluate((other) => window.own.dial(other), `${stack}-echo`);
    const hash = await ada.evaluate(sendRandom, MEBIBYTES);
    // The closing word comes after: as text, or as bytes.
    const size = MEBIBYTES * 1024 * 1024;
    await ada.waitForFunction((wanted) => window.own.sizeOf() >= wanted, size);
    assert.equal(await ada.evaluate((wanted) => window.own.received(wanted), size), hash);
    await ada.context().close();
  });

  test(`${stack} dials a page`, { timeout }, async () => {
    const bob = await peerPage(chromium, system, `${stack}-bob`);
    const dialer = await echo(stack, `${stack}-dialer`, `${stack}-bob`);
    await eventually("the channel", () => bob.evaluate(channelIsOpen).then((open) => open || Promise.reject(dialer.said())));
    await bob.waitForFunction(() => window.own.spoken().includes("hello"));
    await bob.evaluate(() => window.own.channel.send("echo this"));
    await bob.waitForFunction(() => window.own.spoken().includes("echo this"));
    assert.deepEqual(bob.errors, []);
    await bob.context().close();
  });
}
