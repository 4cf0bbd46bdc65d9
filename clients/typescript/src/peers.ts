import { type ChannelTimes, PeerChannel } from "./channel.js";
import { Emitter } from "./emitter.js";
import type { Gateway, Signal } from "./gateway.js";

/** How peers are reached. */
export interface PeersOptions extends Partial<ChannelTimes> {
  /** STUN and TURN servers, and what else an `RTCPeerConnection` takes. */
  rtc?: RTCConfiguration;
  /** Whether a peer may open a channel to this one. Default: everybody may whom the gateway lets through. */
  accept?: (peerId: string) => boolean;
  /** Channels at once; more are not answered. Default 256. */
  maxChannels?: number;
}

/** What happens among peers. */
export interface PeersEvents {
  /** Another peer opens a channel. Listen on it at once: messages follow. */
  channel: PeerChannel;
}

/** Data channels to other peers, by way of a gateway. One to each peer, whoever began. */
export class Peers extends Emitter<PeersEvents> {
  readonly #gateway: Gateway;
  readonly #options: PeersOptions;
  readonly #times: ChannelTimes;
  readonly #channels = new Map<string, PeerChannel>();
  /** Those that this side dialed. */
  readonly #dialed = new WeakSet<PeerChannel>();
  readonly #off: () => void;

  constructor(gateway: Gateway, options: PeersOptions = {}) {
    super();
    this.#gateway = gateway;
    this.#options = options;
    this.#times = {
      connectWithinMs: options.connectWithinMs ?? 15_000,
      restartAfterMs: options.restartAfterMs ?? 2_000,
      lostAfterMs: options.lostAfterMs ?? 30_000,
    };
    this.#off = gateway.on("signal", (signal) => this.#take(signal));
  }

  /**
   * A channel to the peer, opened if there is none yet. Returned at once, so that nothing is missed; `opened` tells when
   * it is open, and throws `ChannelClosed` when it can't be.
   */
  channel(peerId: string): PeerChannel {
    const known = this.#channels.get(peerId);
    if (known !== undefined) {
      return known;
    }
    const channel = this.#make(peerId);
    this.#dialed.add(channel);
    void channel.dial();
    return channel;
  }

  /** An open channel to the peer. Throws `ChannelClosed`. */
  connect(peerId: string): Promise<PeerChannel> {
    return this.channel(peerId).opened;
  }

  /** Closes every channel and takes no more. */
  close(): void {
    this.#off();
    for (const channel of [...this.#channels.values()]) {
      channel.close();
    }
  }

  #make(peerId: string): PeerChannel {
    const channel = new PeerChannel(this.#gateway, peerId, this.#options.rtc ?? {}, this.#times);
    this.#channels.set(peerId, channel);
    channel.on("closed", () => {
      if (this.#channels.get(peerId) === channel) {
        this.#channels.delete(peerId);
      }
    });
    return channel;
  }

  #take({ session_id: id, from, polite, signal }: Signal): void {
    const known = this.#channels.get(from);
    if (known?.sessionId === id) {
      known.take(signal);
      return;
    }
    // What is left of a session that is over. Only an offer opens one.
    if (typeof signal === "string" || signal.type !== "offer") {
      return;
    }
    const channel = this.#forOffer(from, polite, known);
    channel?.adopt({ id, polite });
    if (channel !== undefined && channel !== known) {
      this.emit("channel", channel);
    }
    channel?.take(signal);
  }

  /** The channel that a new session of another peer belongs to, if any. */
  #forOffer(from: string, polite: boolean, known: PeerChannel | undefined): PeerChannel | undefined {
    if (known?.state === "connecting" && this.#dialed.has(known)) {
      // Both dialed at once. Of two sessions the impolite side's stands; while it has none yet, the one that is there.
      return polite || known.sessionId === undefined ? known : undefined;
    }
    const wanted = this.#options.accept?.(from) ?? true;
    if (!wanted || (known === undefined && this.#channels.size >= (this.#options.maxChannels ?? 256))) {
      return undefined;
    }
    known?.replace();
    return this.#make(from);
  }
}
