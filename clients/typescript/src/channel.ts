import type { PeerSignal } from "./contracts.js";
import { Emitter } from "./emitter.js";
import { ChannelClosed, type ChannelFailure } from "./errors.js";
import type { Gateway } from "./gateway.js";
import { Negotiation } from "./negotiation.js";

/** The largest message: what every WebRTC stack carries in one piece (RFC 8831 §6.6). `sendAll` splits longer data. */
export const MAX_MESSAGE_BYTES = 16 * 1024;

/** Bytes that may wait in the browser; `send` waits while there are more. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/**
 * `connecting` until the first path stands, then `open`; `interrupted` while the path is lost and looked for again;
 * `closed` at the end, for good.
 */
export type ChannelState = "connecting" | "open" | "interrupted" | "closed";

/** The way that data takes. */
export interface Path {
  /** Straight to the other peer, or through a relay. */
  kind: "direct" | "relay";
  /** The last measured round trip, milliseconds. */
  roundTripMs?: number;
}

/** What a channel tells. */
export interface ChannelEvents {
  state: ChannelState;
  /** The path was found, or is another one now. */
  path: Path;
  message: string | ArrayBuffer;
  /** The end, once. */
  closed: ChannelClosed;
}

/** Waits of a channel, milliseconds. */
export interface ChannelTimes {
  /** From the start to the open channel. Default 15,000. */
  connectWithinMs: number;
  /** From losing the path to looking for another one. Default 2,000: browsers alone take 15 s. */
  restartAfterMs: number;
  /** From losing the path to giving up. Default 30,000. */
  lostAfterMs: number;
}

type Session = { id: string; polite: boolean };

/** Data straight to one other peer, ordered and reliable. Comes from `Peers`. */
export class PeerChannel extends Emitter<ChannelEvents> {
  readonly peerId: string;
  /** Done when it is open for the first time; rejects with `ChannelClosed` when it never was. */
  readonly opened: Promise<this>;

  readonly #gateway: Gateway;
  readonly #rtc: RTCConfiguration;
  readonly #times: ChannelTimes;
  #state: ChannelState = "connecting";
  #session: Session | undefined;
  #negotiation: Negotiation | undefined;
  #data: RTCDataChannel | undefined;
  #tooLate: ReturnType<typeof setTimeout>;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #outbox: Promise<unknown> = Promise.resolve();
  #open!: (channel: this) => void;
  #fail!: (error: ChannelClosed) => void;
  #end: ChannelClosed | undefined;

  /** @internal */
  constructor(gateway: Gateway, peerId: string, rtc: RTCConfiguration, times: ChannelTimes) {
    super();
    this.peerId = peerId;
    this.#gateway = gateway;
    this.#rtc = rtc;
    this.#times = times;
    this.opened = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#fail = reject;
    });
    // Whoever does not wait for it hears of it by `closed`.
    this.opened.catch(() => {});
    this.#tooLate = setTimeout(() => {
      this.#over("timed_out", `no path to ${peerId} within ${times.connectWithinMs / 1_000} s`);
    }, times.connectWithinMs);
  }

  get state(): ChannelState {
    return this.#state;
  }

  /** Sends one message of 1 to `MAX_MESSAGE_BYTES` bytes; waits while much is under way. Messages keep their order. */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data).byteLength : data.byteLength;
    if (bytes < 1 || bytes > MAX_MESSAGE_BYTES) {
      const rule = `a message has 1 to ${MAX_MESSAGE_BYTES} bytes, this one has ${bytes}; sendAll splits longer data`;
      return Promise.reject(new RangeError(rule));
    }
    const sent = this.#outbox.then(() => this.#write(data));
    this.#outbox = sent.catch(() => {});
    return sent;
  }

  /** Sends bytes of any length as a stream of messages. */
  async sendAll(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += MAX_MESSAGE_BYTES) {
      await this.send(bytes.subarray(at, at + MAX_MESSAGE_BYTES));
    }
  }

  /** The way data takes now; `undefined` while there is none. */
  async path(): Promise<Path | undefined> {
    const stats = await this.#negotiation?.connection.getStats();
    return stats === undefined ? undefined : pathOf(stats);
  }

  /** Looks for a path anew, say because the network changed. Data goes on meanwhile. Done by itself when one is lost. */
  restart(): void {
    this.#negotiation?.connection.restartIce();
  }

  /** Ends it; the other side is told. */
  close(reason = "closed"): void {
    if (this.#end === undefined) {
      this.#bye(reason);
      this.#over("closed", "this side closed the channel");
    }
  }

  /** Which session carries it. @internal */
  get sessionId(): string | undefined {
    return this.#session?.id;
  }

  /** Opens a session and offers. @internal */
  async dial(): Promise<void> {
    try {
      await this.#gateway.ready();
      const { session_id: id, polite } = await this.#gateway.session(this.peerId);
      if (this.#session === undefined && this.#end === undefined) {
        this.#begin({ id, polite });
        this.#use(this.#connection().createDataChannel("synapse"));
      } else {
        this.#gateway.signal(id, { type: "bye", reason: "not needed" }).catch(() => {});
      }
    } catch (error) {
      this.#over("refused", error instanceof Error ? error.message : String(error));
    }
  }

  /** Takes the other side's session, in place of an own one that is not open yet. @internal */
  adopt(session: Session): void {
    this.#bye("the other side's session stands");
    this.#negotiation?.close();
    this.#begin(session);
  }

  /** Takes a signal of its session in. @internal */
  take(signal: PeerSignal): void {
    if (typeof signal !== "string" && signal.type === "bye") {
      this.#over("ended_by_peer", `${this.peerId} ended the session: ${signal.reason ?? "no reason given"}`);
    } else {
      this.#negotiation?.take(signal);
    }
  }

  /** A newer one takes its place. @internal */
  replace(): void {
    this.#over("replaced", `a newer channel with ${this.peerId} stands`);
  }

  #begin(session: Session): void {
    this.#session = session;
    this.#data = undefined;
    const negotiation = new Negotiation({
      gateway: this.#gateway,
      sessionId: session.id,
      polite: session.polite,
      rtc: this.#rtc,
      onRefused: (message) => {
        if (this.#state === "connecting") {
          this.#over("refused", message);
        }
      },
    });
    this.#negotiation = negotiation;
    const { connection } = negotiation;
    connection.ondatachannel = ({ channel }) => this.#use(channel);
    connection.onconnectionstatechange = () => {
      if (this.#negotiation === negotiation) {
        this.#watch(connection.connectionState);
      }
    };
  }

  #connection(): RTCPeerConnection {
    if (this.#negotiation === undefined) {
      throw new Error("a session begins with a connection");
    }
    return this.#negotiation.connection;
  }

  #use(data: RTCDataChannel): void {
    if (this.#data !== undefined) {
      data.close();
      return;
    }
    this.#data = data;
    data.binaryType = "arraybuffer";
    data.bufferedAmountLowThreshold = MAX_BUFFERED_BYTES / 2;
    data.onmessage = ({ data: message }) => this.emit("message", message as string | ArrayBuffer);
    data.onopen = () => {
      if (this.#data === data) {
        clearTimeout(this.#tooLate);
        this.#enter("open");
        this.#open(this);
        this.#tellPath();
      }
    };
    data.onclose = () => {
      if (this.#data === data) {
        this.#over("ended_by_peer", `${this.peerId} closed the channel`);
      }
    };
  }

  #watch(state: RTCPeerConnectionState): void {
    if (state === "connected" && this.#state === "interrupted") {
      clearTimeout(this.#restart);
      clearTimeout(this.#tooLate);
      this.#enter("open");
      this.#tellPath();
    } else if ((state === "disconnected" || state === "failed") && this.#state === "open") {
      this.#enter("interrupted");
      this.#restart = setTimeout(() => this.restart(), this.#times.restartAfterMs);
      this.#tooLate = setTimeout(() => {
        this.#over("path_lost", `the path to ${this.peerId} was lost`);
      }, this.#times.lostAfterMs);
    } else if (state === "failed" && this.#state === "interrupted") {
      this.restart();
    }
  }

  #tellPath(): void {
    const tell = (path: Path | undefined): void => {
      if (path !== undefined && this.#end === undefined) {
        this.emit("path", path);
      }
    };
    this.path().then(tell, () => {});
    const ice = this.#negotiation?.connection.sctp?.transport.iceTransport;
    if (ice) {
      ice.onselectedcandidatepairchange = () => this.path().then(tell, () => {});
    }
  }

  async #write(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): Promise<void> {
    await this.opened;
    while (this.#end === undefined && this.#data !== undefined && this.#data.bufferedAmount > MAX_BUFFERED_BYTES) {
      await drained(this.#data);
    }
    if (this.#end !== undefined || this.#data === undefined) {
      throw this.#end ?? new ChannelClosed("closed", "the channel is not open");
    }
    // Three signatures, one implementation.
    this.#data.send(data as string);
  }

  #bye(reason: string): void {
    if (this.#session !== undefined) {
      this.#gateway.signal(this.#session.id, { type: "bye", reason: reason.slice(0, 200) }).catch(() => {});
    }
  }

  #enter(state: ChannelState): void {
    if (this.#state !== state) {
      this.#state = state;
      this.emit("state", state);
    }
  }

  #over(reason: ChannelFailure, message: string): void {
    if (this.#end !== undefined) {
      return;
    }
    this.#end = new ChannelClosed(reason, message);
    clearTimeout(this.#tooLate);
    clearTimeout(this.#restart);
    this.#negotiation?.close();
    this.#fail(this.#end);
    this.#enter("closed");
    this.emit("closed", this.#end);
  }
}

/** Until there is room again, or the channel ends. */
function drained(data: RTCDataChannel): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      data.removeEventListener("bufferedamountlow", done);
      data.removeEventListener("close", done);
      resolve();
    };
    data.addEventListener("bufferedamountlow", done);
    data.addEventListener("close", done);
  });
}

function pathOf(stats: RTCStatsReport): Path | undefined {
  let pair: RTCIceCandidatePairStats | undefined;
  stats.forEach((stat: RTCStats) => {
    if (stat.type === "transport") {
      const selected = (stat as RTCTransportStats).selectedCandidatePairId;
      pair = selected === undefined ? pair : (stats.get(selected) as RTCIceCandidatePairStats | undefined);
    }
  });
  // Firefox names no selected pair.
  stats.forEach((stat: RTCStats) => {
    const one = stat as RTCIceCandidatePairStats;
    if (stat.type === "candidate-pair" && one.nominated && one.state === "succeeded") {
      pair ??= one;
    }
  });
  if (pair === undefined) {
    return undefined;
  }
  const ends = [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.get(id) as { candidateType?: string });
  const kind = ends.some((end) => end?.candidateType === "relay") ? "relay" : "direct";
  const seconds = pair.currentRoundTripTime;
  return { kind, ...(seconds === undefined ? {} : { roundTripMs: seconds * 1_000 }) };
}
