import type { PeerSignal } from "./contracts.js";
import { Disconnected, Refused } from "./errors.js";
import type { Gateway } from "./gateway.js";

export interface NegotiationOptions {
  gateway: Gateway;
  sessionId: string;
  /** Whether this side yields when both offer at once. */
  polite: boolean;
  rtc: RTCConfiguration;
  /** A description was refused by the gateway. */
  onRefused: (message: string) => void;
}

/** Candidates that came before their description; browsers send a dozen. */
const MAX_EARLY = 64;

/**
 * An RTCPeerConnection and its signals: perfect negotiation (W3C WebRTC, "Perfect negotiation example"), each negotiation
 * with a number. Signals are worked off one after the other.
 */
export class Negotiation {
  readonly connection: RTCPeerConnection;
  readonly #options: NegotiationOptions;
  /** The current negotiation; the first one is 1. */
  #generation = 0;
  #lastOffer: string | undefined;
  #early: RTCIceCandidateInit[] = [];
  #work: Promise<void> = Promise.resolve();
  #sending: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: NegotiationOptions) {
    this.#options = options;
    this.connection = new RTCPeerConnection(options.rtc);
    this.connection.onnegotiationneeded = () => this.#next(() => this.#offer());
    this.connection.onicecandidate = ({ candidate }) => {
      // Null after the last: the empty candidate before it said so already.
      if (candidate !== null) {
        const { candidate: text, sdpMid } = candidate;
        this.#send({ type: "candidate", candidate: text, sdp_mid: sdpMid, generation: this.#generation });
      }
    };
  }

  /** Takes a signal of the other side in. */
  take(signal: PeerSignal): void {
    this.#next(() => this.#take(signal));
  }

  close(): void {
    this.#isClosed = true;
    this.connection.close();
  }

  // What fails here leaves no path: the channel's own deadline says so.
  #next(step: () => Promise<void>): void {
    this.#work = this.#work.then(() => (this.#isClosed ? undefined : step())).catch(() => {});
  }

  async #offer(): Promise<void> {
    if (this.connection.signalingState !== "stable") {
      return;
    }
    await this.connection.setLocalDescription();
    this.#generation += 1;
    this.#describe("offer");
  }

  async #take(signal: PeerSignal): Promise<void> {
    // A kind newer than this client.
    if (typeof signal === "string") {
      return;
    }
    const { connection } = this;
    switch (signal.type) {
      case "offer":
        await this.#answer(signal.sdp, signal.generation);
        break;
      case "answer":
        if (connection.signalingState === "have-local-offer" && signal.generation === this.#generation) {
          await connection.setRemoteDescription({ type: "answer", sdp: signal.sdp });
          await this.#addEarly();
        }
        break;
      case "candidate":
        if (signal.generation >= this.#generation) {
          const section = signal.sdp_mid == null ? { sdpMLineIndex: 0 } : { sdpMid: signal.sdp_mid };
          await this.#add({ candidate: signal.candidate, ...section });
        }
        break;
      case "restart":
        connection.restartIce();
        break;
    }
  }

  async #answer(sdp: string, generation: number): Promise<void> {
    const { connection } = this;
    // Its outcome was lost and it was sent again: so is the answer.
    if (sdp === this.#lastOffer && connection.signalingState === "stable") {
      this.#describe("answer");
      return;
    }
    if (connection.signalingState !== "stable" && !this.#options.polite) {
      return;
    }
    this.#generation = generation;
    this.#lastOffer = sdp;
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription();
    this.#describe("answer");
    await this.#addEarly();
  }

  #describe(type: "offer" | "answer"): void {
    const description = this.connection.localDescription;
    if (description?.type === type) {
      this.#send({ type, sdp: description.sdp, generation: this.#generation });
    }
  }

  async #add(candidate: RTCIceCandidateInit): Promise<void> {
    if (this.connection.remoteDescription !== null) {
      // One that is no good, or of an offer that was not taken, costs a path and not the connection.
      await this.connection.addIceCandidate(candidate).catch(() => {});
    } else if (this.#early.length < MAX_EARLY) {
      this.#early.push(candidate);
    }
  }

  async #addEarly(): Promise<void> {
    const early = this.#early;
    this.#early = [];
    for (const candidate of early) {
      await this.#add(candidate);
    }
  }

  #send(signal: PeerSignal): void {
    const { gateway, sessionId } = this.#options;
    this.#sending = this.#sending
      .then(() => gateway.ready())
      .then(() => {
        if (!this.#isClosed) {
          gateway.signal(sessionId, signal).catch((error: unknown) => this.#notSent(signal, error));
        }
      })
      // The gateway is gone for good: what runs goes on without it.
      .catch(() => {});
  }

  #notSent(signal: PeerSignal, error: unknown): void {
    if (error instanceof Disconnected) {
      // It may have arrived: the other side knows an offer again, and the rest does no harm twice.
      this.#send(signal);
    } else if (error instanceof Refused && typeof signal !== "string" && signal.type !== "candidate") {
      this.#options.onRefused(error.message);
    }
  }
}
