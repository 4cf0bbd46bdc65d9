import { Backoff } from "./backoff.js";
import type {
  AuthResult,
  Outcome,
  PeerPage,
  PeerSignal,
  PeerStatus,
  PeerView,
  Resume,
  Scope,
  ServerFrame,
  SessionOpened,
} from "./contracts.js";
import { Emitter } from "./emitter.js";
import { Closed, Disconnected } from "./errors.js";
import { type Ask, type End, Link, type OutcomeFrame, type Pushed } from "./link.js";
import { type FetchPapers, type Papers, refreshAfterMs } from "./papers.js";

/** Where the gateway is, and who connects. */
export interface GatewayOptions {
  /** The gateway's WebSocket: `wss://…/v1/ws`. Of several, the next one is tried when one is lost. */
  url: string | readonly string[];
  /** Who this is: 1 to 100 characters of `A-Z a-z 0-9 _ -`. */
  peerId: string;
  /** Asks your backend for papers. */
  papers: FetchPapers;
  /** The `position` of an earlier `Gateway` of this peer, to miss nothing since then. */
  resume?: Resume;
  /** Whether messages are acknowledged once your listeners had them; then their senders learn it. Default true. */
  acks?: boolean;
  /** The bound of the first wait before reconnecting, milliseconds. Default 500. */
  firstWaitMs?: number;
  /** The bound of every wait, milliseconds. Default 30,000. */
  longestWaitMs?: number;
  /** How long connecting may take, milliseconds. Default 15,000. */
  openWithinMs?: number;
}

/** How the connection is. */
export type GatewayState =
  | { name: "idle" }
  | { name: "connecting" }
  /** `resumed`: whether everything missed since the last connection follows. `first` where there was none. */
  | { name: "open"; resumed: "first" | "recovered" | "gap" }
  /** Not connected; tries again after `retryInMs`. */
  | { name: "waiting"; retryInMs: number; reason: string }
  /** Over: trying again doesn't help. */
  | { name: "closed"; code: number; reason: string };

/** A message or broadcast of another peer. */
export type Message = Omit<Extract<ServerFrame, { type: "message" }>, "type" | "offset">;
/** A signal of another peer. */
export type Signal = Omit<Extract<ServerFrame, { type: "signal" }>, "type" | "offset">;

/** What a gateway tells. */
export interface GatewayEvents {
  state: GatewayState;
  /** A peer came, went or changed. */
  presence: PeerView;
  message: Message;
  signal: Signal;
  /** Something may have been missed: ask who is here and what matters. Rooms are joined again already. */
  gap: void;
}

/** Codes that say: don't come back by yourself (docs/protocol.md, "Closing"). */
const FINAL = new Set([4400, 4402, 4409, 4411]);
/** Papers were not good. New ones may be. */
const PAPERS_REFUSED = new Set([4401, 4403]);
/** So often in a row; then the backend gives papers that are no good. */
const MAX_PAPERS_REFUSED = 3;
/** Pages of peers read by `everybody`: 10,000 peers. */
const MAX_PAGES = 100;

/** One peer's connection to the gateway. It reconnects by itself and misses nothing, or says so. */
export class Gateway extends Emitter<GatewayEvents> {
  readonly peerId: string;
  readonly #options: GatewayOptions;
  readonly #backoff: Backoff;
  readonly #rooms = new Set<string>();
  #state: GatewayState = { name: "idle" };
  #link: Link | undefined;
  #position: Resume | undefined;
  #subscribed = true;
  #refusedInARow = 0;
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;
  #opening: Promise<void> | undefined;
  #isStopped = false;
  /** Which of the gateways is tried now. */
  #turn = 0;

  constructor(options: GatewayOptions) {
    super();
    this.#options = options;
    this.peerId = options.peerId;
    this.#position = options.resume;
    this.#backoff = new Backoff(options.firstWaitMs ?? 500, options.longestWaitMs ?? 30_000);
  }

  /** How the connection is now. */
  get state(): GatewayState {
    return this.#state;
  }

  /** The gateway that is connected, or tried next. */
  get url(): string {
    const { url } = this.#options;
    return typeof url === "string" ? url : (url[this.#turn % url.length] ?? "");
  }

  /** Up to where pushed frames were taken in: give it to a later process as `resume`. */
  get position(): Resume | undefined {
    return this.#position;
  }

  /**
   * Connects; done when the connection stands for the first time. A gateway that can't be reached is tried again, and
   * `state` tells. Throws what `papers` throws the first time, and `Closed` where trying again doesn't help.
   */
  open(): Promise<void> {
    this.#opening ??= this.#start();
    return this.#opening;
  }

  /** Waits until there is a connection. Throws `Closed` when there will be none. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (state: GatewayState): boolean => {
        if (state.name === "open") {
          resolve();
        } else if (state.name === "closed") {
          reject(new Closed(state.code, state.reason));
        }
        return state.name === "open" || state.name === "closed";
      };
      if (!look(this.#state)) {
        const off = this.on("state", (state) => {
          if (look(state)) {
            off();
          }
        });
      }
    });
  }

  /** Disconnects for good. */
  close(): void {
    this.#stop({ code: 1000, reason: "closed by this side" });
    this.#link?.close("closed by this side");
  }

  /** Sends a message to one peer: `delivered`, or `expired` when the other side did not take it in time. */
  async message(to: string, action: string, message: string): Promise<Outcome> {
    return (await this.#ask({ type: "message", to, action, message })).outcome;
  }

  /** Sends a message to a room, or as an admin to a user or everybody. */
  async broadcast(scope: Scope, action: string, message: string): Promise<void> {
    await this.#ask({ type: "broadcast", ...scope, action, message });
  }

  /** Comes into a room; broadcasts to it arrive from then on. */
  async join(room: string): Promise<void> {
    await this.#ask({ type: "room", action: "join", room });
    this.#rooms.add(room);
  }

  /** Leaves a room. */
  async leave(room: string): Promise<void> {
    this.#rooms.delete(room);
    await this.#ask({ type: "room", action: "leave", room });
  }

  /** A page of who is here, this peer included. */
  async peers(after?: string): Promise<PeerPage> {
    const asked: Ask = { type: "presence", action: "list", ...(after === undefined ? {} : { after }) };
    return (await this.#ask(asked)).result as PeerPage;
  }

  /** Everybody who is here, 10,000 at most. */
  async everybody(): Promise<PeerView[]> {
    const found: PeerView[] = [];
    let after: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const { peers, next } = await this.peers(after);
      found.push(...peers);
      if (next == null) {
        break;
      }
      after = next;
    }
    return found;
  }

  /** Begins or ends `presence` events. They come from the beginning. */
  async subscribe(wanted: boolean): Promise<void> {
    await this.#ask({ type: "presence", action: wanted ? "subscribe" : "unsubscribe" });
    this.#subscribed = wanted;
  }

  /** Says whether this peer is at its desk. */
  async setStatus(status: PeerStatus & ("online" | "away")): Promise<void> {
    await this.#ask({ type: "presence", action: "set_status", status });
  }

  /** Opens a session with another peer. `Peers` does it for you. */
  async session(to: string): Promise<SessionOpened> {
    return (await this.#ask({ type: "session", to })).result as SessionOpened;
  }

  /** Passes a signal on. `Peers` does it for you. */
  async signal(sessionId: string, signal: PeerSignal): Promise<void> {
    await this.#ask({ type: "signal", session_id: sessionId, signal });
  }

  /** Asks `papers` for new ones and shows them. Done by itself at 60 % of the papers' life. */
  async refresh(): Promise<void> {
    const papers = await this.#options.papers();
    await this.#ask({ type: "refresh", ...papers });
    this.#refreshLater(papers);
  }

  #ask(frame: Ask): Promise<OutcomeFrame> {
    return this.#link === undefined ? Promise.reject(new Disconnected("there is no connection")) : this.#link.ask(frame);
  }

  async #start(): Promise<void> {
    this.#enter({ name: "connecting" });
    const papers = await Promise.resolve(this.#options.papers()).catch((error: unknown) => {
      this.#stop({ code: 0, reason: `no papers: ${String(error)}` });
      throw error;
    });
    void this.#run(papers);
    await this.ready();
  }

  async #run(first: Papers): Promise<void> {
    let papers: Papers | undefined = first;
    // The network is back: no need to sit a long wait out.
    const online = (): void => this.#wake?.();
    globalThis.addEventListener?.("online", online);
    while (!this.#isStopped) {
      const end: End = await this.#connection(papers);
      papers = undefined;
      if (!this.#isStopped) {
        await this.#pause(end);
      }
    }
    globalThis.removeEventListener?.("online", online);
  }

  /** One connection, from fetching papers to its end. */
  async #connection(given: Papers | undefined): Promise<End> {
    this.#enter({ name: "connecting" });
    let papers = given;
    try {
      papers ??= await this.#options.papers();
    } catch (error) {
      return { code: 0, reason: `no papers: ${String(error)}` };
    }
    if (this.#isStopped) {
      return { code: 1000, reason: "closed by this side" };
    }
    const resume = this.#position;
    const good = papers;
    const link: Link = new Link({
      url: this.url,
      openWithinMs: this.#options.openWithinMs ?? 15_000,
      auth: {
        type: "auth",
        ...papers,
        peer_id: this.peerId,
        acks: this.#options.acks ?? true,
        ...(resume === undefined ? {} : { resume }),
      },
      onOpen: (result) => this.#opened(link, result, resume !== undefined, good),
      onPushed: (frame) => this.#pushed(link, frame),
    });
    const end = await link.ended;
    this.#turn += 1;
    this.#link = undefined;
    clearTimeout(this.#refreshTimer);
    return end;
  }

  #opened(link: Link, result: AuthResult, asked: boolean, papers: Papers): void {
    this.#link = link;
    this.#position = { epoch: result.epoch, offset: result.offset };
    this.#backoff.reset();
    this.#refusedInARow = 0;
    this.#refreshLater(papers);
    const resumed = asked ? (result.resume ?? "gap") : "first";
    if (resumed === "gap") {
      this.#restore(link);
    }
    this.#enter({ name: "open", resumed });
    if (resumed === "gap") {
      this.emit("gap", undefined);
    }
  }

  // Whoever fails here has lost the connection again, or may not: then broadcasts to that room are refused by name.
  #restore(link: Link): void {
    const again: Ask[] = [...this.#rooms].map((room) => ({ type: "room", action: "join", room }));
    if (!this.#subscribed) {
      again.push({ type: "presence", action: "unsubscribe" });
    }
    for (const frame of again) {
      link.ask(frame).catch(() => {});
    }
  }

  #pushed(link: Link, frame: Pushed): void {
    const { offset } = frame;
    switch (frame.type) {
      case "presence":
        this.emit("presence", frame.peer);
        break;
      case "signal":
        this.emit("signal", frame);
        break;
      case "message":
        this.emit("message", frame);
        break;
    }
    // Only now: what the listeners did not have comes again after a resume.
    if (this.#position !== undefined) {
      this.#position = { epoch: this.#position.epoch, offset };
    }
    if (frame.type === "message" && (this.#options.acks ?? true)) {
      link.acknowledge(offset);
    }
  }

  #refreshLater(papers: Papers): void {
    clearTimeout(this.#refreshTimer);
    const afterMs = refreshAfterMs(papers);
    if (afterMs !== undefined) {
      // One that fails leaves 40 % of the papers' life; when they end, the gateway says so and new ones are fetched.
      this.#refreshTimer = setTimeout(() => this.refresh().catch(() => {}), afterMs);
    }
  }

  async #pause(end: End): Promise<void> {
    this.#refusedInARow += PAPERS_REFUSED.has(end.code) ? 1 : 0;
    if (FINAL.has(end.code) || this.#refusedInARow >= MAX_PAPERS_REFUSED) {
      this.#stop(end);
      return;
    }
    const retryInMs = end.reconnectAfterMs ?? this.#backoff.next();
    this.#enter({ name: "waiting", retryInMs, reason: end.reason || "the connection was lost" });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, retryInMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #stop(end: End): void {
    if (this.#isStopped) {
      return;
    }
    this.#isStopped = true;
    clearTimeout(this.#refreshTimer);
    this.#enter({ name: "closed", code: end.code, reason: end.reason });
    this.#wake?.();
  }

  #enter(state: GatewayState): void {
    // What is closed stays closed.
    if (this.#state.name !== "closed") {
      this.#state = state;
      this.emit("state", state);
    }
  }
}
