// What the tests need around the SDK: a system of their own, lines that can be cut, waiting.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { closeSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** A machine under load takes its time, milliseconds. */
export const PATIENCE_MS = 60_000;

let logs = 0;

/** Asks until `look` gives something, and fails with what it saw last. */
export async function eventually(what, look) {
  const until = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < until) {
    try {
      const found = await look();
      if (found) {
        return found;
      }
      last = found;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited for ${what}; last: ${last}`);
}

/** The path of a program that the suite built or fetched. */
export function program(name) {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run \`cargo xtask test browser\`, which builds and fetches what is needed`);
  }
  return value;
}

/** A port that nobody has now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A program, once it has printed that it is ready. */
export class Running {
  static async start(command, args, folder, { ready, env = {} }) {
    const running = new Running();
    const log = join(folder, `log-${basename(command)}-${(logs += 1)}`);
    const output = openSync(log, "w");
    const stdio = ["ignore", output, output];
    running.child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env }, stdio });
    closeSync(output);
    running.ended = once(running.child, "exit");
    running.printed = await eventually(`${command} to be ready`, async () => {
      const text = await readFile(log, "utf8");
      if (running.child.exitCode !== null) {
        throw new Error(`it ended:\n${text}`);
      }
      return text.includes(ready) && text;
    });
    return running;
  }

  /** As a machine that loses power: no goodbye. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  /** As an operator: it ends in order. */
  async terminate() {
    this.child.kill("SIGTERM");
    await this.ended;
  }
}

/** A `synapsed` of one's own, that can be killed and started again on the same data. */
export class System {
  static async start(settings = {}) {
    const system = new System();
    await system.prepare(settings);
    await system.start();
    return system;
  }

  async prepare(settings) {
    this.folder = await mkdtemp(join(tmpdir(), "synapse-browser-"));
    this.port = await freePort();
    this.settings = settings;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  get socket() {
    return `ws://127.0.0.1:${this.port}/v1/ws`;
  }

  async start() {
    const env = { ...this.settings };
    env.SYNAPSE_PLATFORM__STORE = `sqlite:${join(this.folder, "data")}`;
    env.SYNAPSE_PLATFORM__HTTP_LISTEN = `127.0.0.1:${this.port}`;
    env.SYNAPSE_PLATFORM__ADMIN__LISTEN = "127.0.0.1:0";
    this.running = await Running.start(program("SYNAPSED"), [], this.folder, { ready: "Ctrl-C stops.", env });
  }

  get token() {
    return /export TOKEN=(\S+)/.exec(this.running.printed)[1];
  }

  kill() {
    return this.running.kill();
  }

  terminate() {
    return this.running.terminate();
  }

  async stop() {
    await this.kill();
    await this.remove();
  }

  /** Its folder, once nobody writes there any more. */
  async remove() {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** What the example's backend gives a peer. */
  async papers(peer_id) {
    const response = await fetch(`${this.url}/example/papers`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ peer_id }),
    });
    if (!response.ok) {
      throw new Error(await response.text());
    }
    return response.json();
  }

  /** The same as programs get it: token and proof. */
  async tokenAndProof(peer_id) {
    const { proof } = await this.papers(peer_id);
    const { token } = this;
    return { token, proof };
  }
}

/** A line to a port that can be cut. */
export class Line {
  static async to(port) {
    const line = new Line();
    line.pairs = new Set();
    line.server = createServer((client) => {
      const server = connect(port, "127.0.0.1");
      const pair = [client, server];
      line.pairs.add(pair);
      client.pipe(server);
      server.pipe(client);
      for (const end of pair) {
        end.on("error", () => {});
        end.on("close", () => {
          pair.forEach((one) => one.destroy());
          line.pairs.delete(pair);
        });
      }
    }).listen(0, "127.0.0.1");
    await once(line.server, "listening");
    return line;
  }

  get port() {
    return this.server.address().port;
  }

  /** Cuts every connection; new ones go through. */
  cut() {
    for (const pair of this.pairs) {
      pair.forEach((end) => end.destroy());
    }
  }

  /** From now on nothing comes through, and nobody is told. */
  stall() {
    for (const [client, server] of this.pairs) {
      client.unpipe(server).pause();
      server.unpipe(client).pause();
    }
  }

  close() {
    this.cut();
    this.server.close();
  }
}
