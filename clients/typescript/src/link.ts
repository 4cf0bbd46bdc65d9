import type { AuthResult, ClientFrame, ServerFrame } from "./contracts.js";
import { Disconnected, Refused } from "./errors.js";

/** `Omit` for each member of a union by itself. */
type Without<Union, Key extends string> = Union extends unknown ? Omit<Union, Key> : never;

/** A client frame before it gets its id. */
export type Ask = Without<ClientFrame, "id">;
/** A frame that says what became of another. */
export type OutcomeFrame = Extract<ServerFrame, { type: "outcome" }>;
/** A frame that is pushed: numbered, and kept for a resume. */
export type Pushed = Extract<ServerFrame, { offset: number }>;

/** How a connection ended. */
export interface End {
  /** The close code, 1006 for an end without one. */
  code: number;
  /** Its word, or more for people where more is known. */
  reason: string;
  /** The server's hint, milliseconds. */
  reconnectAfterMs?: number;
}

export interface LinkOptions {
  url: string;
  auth: Without<Extract<ClientFrame, { type: "auth" }>, "id">;
  /** From the first byte to the accepted `auth`, milliseconds. */
  openWithinMs: number;
  /** Called with the auth's result, before any pushed frame. */
  onOpen: (result: AuthResult) => void;
  /** Called with each pushed frame, in order. */
  onPushed: (frame: Pushed) => void;
}

/** Frames without an outcome; more are refused on this side. The gateway's own limits are far below. */
const MAX_PENDING = 1_000;
/** The close code of an end without a close frame (RFC 6455 §7.1.5). */
const ABNORMAL = 1006;

interface Waiting {
  resolve: (outcome: OutcomeFrame) => void;
  reject: (error: Error) => void;
}

/** One WebSocket, from hello to its end. */
export class Link {
  /** How it ended. Never rejects. */
  readonly ended: Promise<End>;

  readonly #socket: WebSocket;
  readonly #options: LinkOptions;
  readonly #pending = new Map<string, Waiting>();
  #nextId = 1;
  #farewell: End | undefined;
  #refusal: string | undefined;
  #beat: ReturnType<typeof setInterval> | undefined;
  #tooLate: ReturnType<typeof setTimeout>;
  #end!: (end: End) => void;
  #isOpen = false;
  #isOver = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#socket = new WebSocket(options.url, ["synapse.v1"]);
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = ({ code, reason }) => this.#over({ code, reason });
    this.#tooLate = setTimeout(() => {
      this.#over({ code: ABNORMAL, reason: "the gateway did not answer in time" });
    }, options.openWithinMs);
  }

  /** Sends a frame; what becomes of it. Refusals are thrown as `Refused`, the connection's end as `Disconnected`. */
  ask(frame: Ask): Promise<OutcomeFrame> {
    return new Promise((resolve, reject) => {
      if (this.#isOver || !this.#isOpen) {
        reject(new Disconnected("there is no connection"));
      } else if (this.#pending.size >= MAX_PENDING) {
        reject(new Error(`${MAX_PENDING} frames have no outcome yet; wait for some of them`));
      } else {
        this.#ask(frame, { resolve, reject });
      }
    });
  }

  /** Acknowledges what was taken in up to `offset`. */
  acknowledge(offset: number): void {
    this.#write({ type: "ack", id: "ack", offset });
  }

  /** Ends it from this side. */
  close(reason: string): void {
    this.#over({ code: ABNORMAL, reason });
  }

  #ask(frame: Ask, waiting: Waiting): void {
    const id = String(this.#nextId++);
    this.#pending.set(id, waiting);
    this.#write({ ...frame, id } as ClientFrame);
  }

  #write(frame: ClientFrame): void {
    if (this.#socket.readyState === 1) {
      this.#socket.send(JSON.stringify(frame));
    }
  }

  #take(data: unknown): void {
    if (this.#isOver) {
      return;
    }
    let frame: ServerFrame;
    try {
      frame = JSON.parse(String(data)) as ServerFrame;
    } catch {
      this.#over({ code: ABNORMAL, reason: "what answered does not speak synapse.v1" });
      return;
    }
    switch (frame.type) {
      case "hello":
        this.#authenticate(frame.heartbeat_ms);
        break;
      case "outcome":
        this.#settle(frame);
        break;
      case "closing": {
        const { code, reason, reconnect_after_ms } = frame;
        this.#farewell = { code, reason, ...(reconnect_after_ms == null ? {} : { reconnectAfterMs: reconnect_after_ms }) };
        break;
      }
      default:
        // A kind newer than this client has no number it could count.
        if (typeof frame.offset === "number") {
          this.#options.onPushed(frame);
        }
    }
  }

  #authenticate(heartbeatMs: number): void {
    const opened = (outcome: OutcomeFrame): void => {
      clearTimeout(this.#tooLate);
      this.#isOpen = true;
      this.#keepAlive(heartbeatMs / 2);
      this.#options.onOpen(outcome.result as AuthResult);
    };
    // The gateway closes after a refusal: its close code decides what comes next.
    this.#ask(this.#options.auth, {
      resolve: opened,
      reject: (error) => {
        if (error instanceof Refused) {
          this.#refusal = error.message;
        }
      },
    });
  }

  // A path that swallows everything looks open to a browser for minutes: a ping without an outcome tells.
  #keepAlive(everyMs: number): void {
    let waiting = false;
    this.#beat = setInterval(() => {
      if (waiting) {
        this.#over({ code: ABNORMAL, reason: "the gateway fell silent" });
        return;
      }
      waiting = true;
      this.ask({ type: "ping" }).then(
        () => {
          waiting = false;
        },
        () => {},
      );
    }, everyMs);
  }

  #settle(frame: OutcomeFrame): void {
    const waiting = frame.id == null ? undefined : this.#pending.get(frame.id);
    if (frame.id == null || waiting === undefined) {
      return;
    }
    this.#pending.delete(frame.id);
    if (frame.problem) {
      waiting.reject(new Refused(frame.problem));
    } else {
      waiting.resolve(frame);
    }
  }

  #over(end: End): void {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    clearTimeout(this.#tooLate);
    clearInterval(this.#beat);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
    const told = this.#farewell ?? end;
    this.#end({ ...told, reason: this.#refusal ?? told.reason });
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of waiting) {
      reject(new Disconnected("the connection ended before the outcome came"));
    }
  }
}
