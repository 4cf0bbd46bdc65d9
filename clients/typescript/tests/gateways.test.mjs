// Two gateways on NATS, one killed: what docs/guide/realtime.md tells a reader to try.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { browser, page } from "./chromium.mjs";
import { freePort, PATIENCE_MS, program, Running, System } from "./system.mjs";

const timeout = 2 * PATIENCE_MS;
let chromium;
let system;
let second;
let nats;
let port;

before(async () => {
  chromium = await browser();
  const natsPort = await freePort();
  const SYNAPSE_PLATFORM__BUS = `nats://127.0.0.1:${natsPort}`;
  system = new System();
  await system.prepare({ SYNAPSE_PLATFORM__BUS });
  const store = ["--jetstream", "--store_dir", join(system.folder, "nats")];
  nats = await Running.start(program("NATS"), ["-a", "127.0.0.1", "-p", `${natsPort}`, ...store], system.folder, {
    ready: "Server is ready",
  });
  await system.start();
  const { token_secret } = JSON.parse(await readFile(join(system.folder, "data/development.json"), "utf8"));
  port = await freePort();
  const env = {
    SYNAPSE_PLATFORM__BUS,
    SYNAPSE_PLATFORM__STORE: `sqlite:${join(system.folder, "second")}`,
    SYNAPSE_PLATFORM__HTTP_LISTEN: `127.0.0.1:${port}`,
    SYNAPSE_GATEWAY__TOKEN_SECRET: token_secret,
    SYNAPSE_GATEWAY__ALLOWED_ORIGINS: system.url,
  };
  second = await Running.start(program("GATEWAY"), [], system.folder, { ready: "public=Some", env });
});

after(async () => {
  await chromium?.close();
  await second?.kill();
  await system?.kill();
  await nats?.kill();
  // Last: all of them write into its folder.
  await system?.remove();
});

test("a tab at each of two gateways talk; one is killed, its tab moves over and the talk goes on", { timeout }, async () => {
  const enter = async (name, path) => {
    const opened = await page(chromium, system, path);
    await opened.fill("#name", name);
    await opened.click("#join button");
    await opened.locator("#connection[data-state=open]").waitFor();
    return opened;
  };
  const say = async (from, to, text) => {
    await from.fill("#text", text);
    await from.press("#text", "Enter");
    await to.locator(".theirs", { hasText: text }).waitFor();
  };
  const [ada, bela] = [await enter("Ada", "/example/"), await enter("Bela", `/example/?gateway=127.0.0.1:${port}`)];
  assert.equal(await bela.textContent("#connection"), `connected to 127.0.0.1:${port}`);
  await ada.click('[data-peer^="Bela-"]');
  await ada.waitForSelector("#path[data-state=open]");
  await say(ada, bela, "over two gateways");
  await second.kill();
  await bela.locator("#connection", { hasText: /^connected$/ }).waitFor();
  await say(bela, ada, "over none");
  // Seen by a newcomer at the gateway that is left, once.
  const cleo = await enter("Cleo", "/example/");
  await cleo.locator('[data-peer^="Bela-"][data-status="online"]').waitFor();
  await cleo.click('[data-peer^="Bela-"]');
  await cleo.waitForSelector("#path[data-state=open]");
  await bela.click('[data-peer^="Cleo-"]');
  await say(cleo, bela, "over one");
  assert.deepEqual([ada.errors, bela.errors, cleo.errors], [[], [], []]);
});
