/** Staying awake for answers. */

import type { Requests } from './requests';

/** Milliseconds: longer than a near server takes to answer, and next to nothing. */
const PATIENCE = 0.1;
/** With more requests under way answers come in numbers, and there is enough to do. */
const FEW = 4;
/** So many times at most it is let be before it is tried again. */
const MOST_SPARED = 1023;

/**
 * An event loop that fell asleep takes longer to wake than a near server to answer. So while few requests wait the loop goes
 * on turning for a moment; whatever else there is to do is done in these turns as in others. Where answers take longer than
 * that it is tried ever more seldom.
 */
export class Vigil {
  readonly #requests: Requests;
  #turning = false;
  #until = 0;
  /** How many requests waited when it was last prolonged. */
  #waiting = 0;
  /** So many times it is to be let be, and so many it has been. */
  #toSpare = 0;
  #spared = 0;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Something was handed over. */
  begin(): void {
    const { open } = this.#requests;
    if (open === 0 || open > FEW) return;
    if (this.#turning) {
      const answered = open <= this.#waiting;
      this.#waiting = open;
      if (!answered) return;
      this.#toSpare = 0;
      this.#until = performance.now() + PATIENCE;
    } else if (this.#spared < this.#toSpare) {
      this.#spared += 1;
    } else {
      this.#turning = true;
      this.#waiting = open;
      this.#until = performance.now() + PATIENCE;
      setImmediate(turn, this);
    }
  }

  /** @internal */
  static turn(this: void, vigil: Vigil): void {
    if (vigil.#requests.open === 0) {
      vigil.#turning = false;
      vigil.#toSpare = 0;
    } else if (performance.now() < vigil.#until) {
      setImmediate(turn, vigil);
    } else {
      vigil.#turning = false;
      vigil.#spared = 0;
      vigil.#toSpare = Math.min(2 * vigil.#toSpare + 1, MOST_SPARED);
    }
  }
}

const { turn } = Vigil;
