/** The browser SDK of Synapse-D. See README.md. */

export { Backoff } from "./backoff.js";
export { type ChannelEvents, type ChannelState, MAX_MESSAGE_BYTES, type Path, PeerChannel } from "./channel.js";
export { type ChannelFailure, ChannelClosed, Closed, Disconnected, Refused } from "./errors.js";
export { Gateway, type GatewayEvents, type GatewayOptions, type GatewayState, type Message } from "./gateway.js";
export type { FetchPapers, Papers } from "./papers.js";
export { Peers, type PeersEvents, type PeersOptions } from "./peers.js";
export type {
  Outcome,
  PeerPage,
  PeerSignal,
  PeerStatus,
  PeerView,
  Problem,
  Resume,
  Scope,
  SessionOpened,
} from "./contracts.js";
