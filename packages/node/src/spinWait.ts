/** Spinning the event loop while an answer is expected at once. */

import type { Requests } from './requests';

/** Milliseconds: longer than a server nearby takes to answer, and too short to show as load. */
const SPIN = 0.1;
/** With more requests unsettled, answers arrive together and the loop has enough to do. */
const MAX_REQUESTS = 4;
/** At most this many batches in a row go without a spin, so that a server that became fast is noticed. */
const MAX_SKIPS = 1023;

/**
 * Keeps the event loop turning for a moment while few requests are unsettled. A loop that has gone to sleep takes longer to
 * wake than a server nearby takes to answer. Other work of the loop is done in these turns as in any. Where answers take
 * longer, each failed spin doubles the number of batches that go without one.
 */
export class SpinWait {
  readonly #requests: Requests;
  #isSpinning = false;
  #until = 0;
  /** The number of unsettled requests when the spin was last extended. */
  #unsettled = 0;
  /** How many batches go without a spin, and how many of them have gone. */
  #toSkip = 0;
  #skipped = 0;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Starts or extends a spin after a batch was pushed. */
  begin(): void {
    const { unsettled } = this.#requests;
    if (unsettled === 0 || unsettled > MAX_REQUESTS) return;
    if (this.#isSpinning) {
      const isAnswered = unsettled <= this.#unsettled;
      this.#unsettled = unsettled;
      if (!isAnswered) return;
      this.#toSkip = 0;
      this.#until = performance.now() + SPIN;
    } else if (this.#skipped < this.#toSkip) {
      this.#skipped += 1;
    } else {
      this.#isSpinning = true;
      this.#unsettled = unsettled;
      this.#until = performance.now() + SPIN;
      setImmediate(turn, this);
    }
  }

  /** @internal Decides in one turn of the event loop if there is another. */
  static turn(this: void, spin: SpinWait): void {
    if (spin.#requests.unsettled === 0) {
      spin.#isSpinning = false;
      spin.#toSkip = 0;
    } else if (performance.now() < spin.#until) {
      setImmediate(turn, spin);
    } else {
      spin.#isSpinning = false;
      spin.#skipped = 0;
      spin.#toSkip = Math.min(2 * spin.#toSkip + 1, MAX_SKIPS);
    }
  }
}

const { turn } = SpinWait;
