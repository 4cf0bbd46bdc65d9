import type { Problem } from "./contracts.js";

/** The gateway's "no" to one frame. `code` is stable: decide by it. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(readonly problem: Problem) {
    super(problem.detail ? `${problem.title}: ${problem.detail}` : problem.title);
  }

  /** For programs: `peer_offline`, `rate_limited`, … (docs/errors.md). */
  get code(): string {
    return this.problem.code;
  }
}

/** The connection ended, or was not there: what was asked may have been done or not. */
export class Disconnected extends Error {
  override readonly name = "Disconnected";
}

/** The connection ended for a reason that trying again doesn't help. */
export class Closed extends Error {
  override readonly name = "Closed";

  /** The close code and its word, see docs/protocol.md. */
  constructor(
    readonly code: number,
    readonly reason: string,
    detail?: string,
  ) {
    super(detail ?? `the gateway closed the connection: ${reason} (${code})`);
  }
}

/** Why a peer can't be reached directly. */
export type ChannelFailure =
  /** No path was found, or the peer did not answer, in time. */
  | "timed_out"
  /** The path was lost and did not come back. */
  | "path_lost"
  /** The other side ended it. */
  | "ended_by_peer"
  /** A newer channel with the same peer took its place. */
  | "replaced"
  /** This side closed it. */
  | "closed"
  /** The gateway refused to pass a signal on; the message says why. */
  | "refused";

/** A channel to a peer did not open, or is over. */
export class ChannelClosed extends Error {
  override readonly name = "ChannelClosed";

  constructor(
    readonly reason: ChannelFailure,
    message: string,
  ) {
    super(message);
  }
}
