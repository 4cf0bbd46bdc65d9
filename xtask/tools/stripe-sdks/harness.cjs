// What the checks of the Node SDK share: clients, control calls, a receiver of webhooks, a runner that counts.
'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const path = require('node:path');
const { createRequire } = require('node:module');

const [home, base] = process.argv.slice(2);
const load = createRequire(path.join(home, 'package.json'));
const Stripe = load('stripe');
const url = new URL(base);
const PATIENCE_MS = 20_000;
const checks = [];

function check(name, action) {
  checks.push([name, action]);
}

function client(more = {}) {
  const { hostname: host, port } = url;
  return new Stripe('sk_test_node', { host, port, protocol: 'http', maxNetworkRetries: 0, ...more });
}

async function control(where, body, method = body === undefined ? 'GET' : 'POST') {
  const answer = await fetch(`${base}/_emulator/${where}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(answer.ok, `${where}: ${answer.status} ${answer.ok ? '' : await answer.text()}`);
  return answer.json();
}

// The error of exactly that class which `action` raises.
async function raises(kind, action) {
  try {
    await action();
  } catch (error) {
    assert.equal(error.constructor.name, kind.name, `${error}`);
    return error;
  }
  return assert.fail(`${kind.name} expected`);
}

// What `look` finds, once it finds something; every look is a request of its own.
async function eventually(what, look) {
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until) {
    const found = await look();
    if (found) {
      return found;
    }
  }
  return assert.fail(`not within ${PATIENCE_MS} ms: ${what}`);
}

// Takes webhooks, answers what it is told to, then 200.
async function receiver() {
  const hooks = [];
  const waiting = [];
  const answers = [];
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const hook = [Buffer.concat(parts), request.headers['stripe-signature']];
      const next = waiting.shift();
      if (next) {
        next(hook);
      } else {
        hooks.push(hook);
      }
      response.writeHead(answers.shift() ?? 200).end();
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const next = () =>
    new Promise((found, failed) => {
      if (hooks.length > 0) {
        found(hooks.shift());
        return;
      }
      const late = setTimeout(() => failed(new Error('no webhook came')), PATIENCE_MS);
      waiting.push((hook) => {
        clearTimeout(late);
        found(hook);
      });
    });
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/hook`, next, answers, close };
}

async function run() {
  let failed = 0;
  for (const [name, action] of checks) {
    const shown = `node ${Stripe.PACKAGE_VERSION ?? ''}: ${name}`.replace('  ', ' ');
    try {
      await action();
      console.log(`ok      ${shown}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${shown}\n${error.stack ?? error}`);
    }
    await control('faults', undefined, 'DELETE');
    await control('delivery', {});
  }
  process.exit(failed === 0 ? 0 : 1);
}

module.exports = { Stripe, base, check, client, control, eventually, home, load, raises, receiver, run };
