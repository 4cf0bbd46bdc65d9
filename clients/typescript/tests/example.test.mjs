// The example page as a person uses it.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { browser, page } from "./chromium.mjs";
import { PATIENCE_MS, System } from "./system.mjs";

const timeout = 2 * PATIENCE_MS;
let system;
let chromium;

before(async () => {
  [system, chromium] = await Promise.all([System.start(), browser()]);
});

after(async () => {
  await chromium.close();
  await system.stop();
});

async function enter(name) {
  const opened = await page(chromium, system);
  await opened.fill("#name", name);
  await opened.click("#join button");
  await opened.locator("#connection", { hasText: /^connected$/ }).waitFor();
  return opened;
}

const isOpen = (side) => side.waitForSelector("#path[data-state=open]");

async function write(side, text) {
  await side.fill("#text", text);
  await side.press("#text", "Enter");
}

/** Kept where SCREENSHOTS says, for whoever wants to look. */
async function keep(side, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder !== undefined) {
    mkdirSync(folder, { recursive: true });
    await side.screenshot({ path: join(folder, `${name}.png`) });
  }
}

test("two tabs see each other, chat, and see each other leave", { timeout }, async () => {
  const [ada, bela] = [await enter("Ada"), await enter("Bela")];
  await ada.click('[data-peer^="Bela-"]');
  await isOpen(ada);
  await write(ada, "Hello Bela, can you read me?");
  await bela.locator(".theirs", { hasText: "can you read me?" }).waitFor();
  await write(bela, "Loud and clear, and no server in between.");
  await ada.locator(".theirs", { hasText: "Loud and clear" }).waitFor();
  assert.match(await ada.textContent("#path"), /^direct/);
  await keep(ada, "chat");
  await bela.context().close();
  await ada.locator('[data-peer^="Bela-"][data-status="gone"]').waitFor();
  await ada.waitForSelector("#path[data-state=closed]");
  assert.ok(await ada.isDisabled("#text"));
  await keep(ada, "left");
  assert.deepEqual(ada.errors, []);
  await ada.context().close();
});

test("what is written in another conversation is counted", { timeout }, async () => {
  const [ada, bela, cleo] = [await enter("Ada"), await enter("Bela"), await enter("Cleo")];
  for (const other of [bela, cleo]) {
    await other.click('[data-peer^="Ada-"]');
    await isOpen(other);
  }
  await ada.click('[data-peer^="Bela-"]');
  await write(cleo, "psst");
  await ada.locator('[data-peer^="Cleo-"] .unread', { hasText: "1" }).waitFor();
  await ada.click('[data-peer^="Cleo-"]');
  await ada.locator(".theirs", { hasText: "psst" }).waitFor();
  assert.equal(await ada.locator(".unread").count(), 0);
  await Promise.all([ada, bela, cleo].map((side) => side.context().close()));
});

test("without the gateway the page says so, the conversation goes on, and it comes back", { timeout }, async () => {
  const own = system;
  const [ada, bela] = [await enter("Ada"), await enter("Bela")];
  await ada.click('[data-peer^="Bela-"]');
  await isOpen(ada);
  await system.kill();
  await ada.locator("#problem", { hasText: "Open conversations go on." }).waitFor();
  await write(ada, "still there?");
  await bela.locator(".theirs", { hasText: "still there?" }).waitFor();
  await keep(ada, "no-gateway");
  await system.start();
  await ada.locator("#connection", { hasText: /^connected$/ }).waitFor();
  assert.ok(await ada.isHidden("#problem"));
  await Promise.all([ada, bela].map((side) => side.context().close()));
});

test("the page and its backend are for this machine alone", { timeout }, async () => {
  const page = await fetch(`${system.url}/example/`);
  assert.match(page.headers.get("content-security-policy"), /default-src 'self'/);
  assert.equal((await fetch(`${system.url}/example`, { redirect: "manual" })).headers.get("location"), "/example/");
  assert.equal((await fetch(`${system.url}/example/../Cargo.toml`)).status, 404);
  assert.equal((await fetch(`${system.url}/example/nothing.js`)).status, 404);
  const asked = await fetch(`${system.url}/example/papers`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ peer_id: "no spaces here" }),
  });
  const problem = await asked.json();
  assert.deepEqual([asked.status, problem.code, problem.violations[0].field], [400, "validation_failed", "peer_id"]);
});
