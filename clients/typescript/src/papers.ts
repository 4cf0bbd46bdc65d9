/** What a peer shows to get in. One of `token` and `ticket`; a browser should get a ticket, which is good only once. */
export interface Papers {
  /** An access token (JWT). */
  token?: string;
  /** A one-use ticket that stands for a token, from `POST /v1/tickets`. */
  ticket?: string;
  /** A subscription proof for this peer, from `POST /v1/subscriptions/{id}/verify`. */
  proof: string;
}

/** Asks your backend for papers. Called for each connection and, before they end, for each refresh. */
export type FetchPapers = () => Papers | Promise<Papers>;

/** Asked for new papers once this part of their life is over. */
const REFRESH_AT = 0.6;

/** When to ask for new papers, milliseconds from now; `undefined` where a paper doesn't say how long it lives. */
export function refreshAfterMs(papers: Papers): number | undefined {
  const lives = [papers.proof, papers.token].flatMap((paper) => (paper === undefined ? [] : (lifeMs(paper) ?? [])));
  return lives.length === 0 ? undefined : Math.min(...lives) * REFRESH_AT;
}

/** How long a paper lives from its issue on. This machine's clock may be wrong: only their difference is used. */
function lifeMs(jwt: string): number | undefined {
  try {
    const payload = (jwt.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { iat, exp } = JSON.parse(atob(payload)) as { iat?: unknown; exp?: unknown };
    return typeof iat === "number" && typeof exp === "number" && exp > iat ? (exp - iat) * 1_000 : undefined;
  } catch {
    return undefined;
  }
}
