/** Waits between attempts: full jitter, so that clients that were cut off together don't come back together. */
export class Backoff {
  #attempts = 0;

  /** The bounds of the first wait and of every wait, milliseconds. */
  constructor(
    readonly firstMs: number,
    readonly longestMs: number,
    readonly random: () => number = Math.random,
  ) {}

  /** How long to wait before the next attempt, milliseconds: somewhere below a bound that doubles each time. */
  next(): number {
    // 2^30 times anything is past every bound; larger exponents would only lose precision.
    const bound = Math.min(this.longestMs, this.firstMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return Math.round(bound * this.random());
  }

  /** It worked: the next wait is a first one. */
  reset(): void {
    this.#attempts = 0;
  }
}
