/** The outcomes of many commands. */

/** The outcome of one command of a batch, as `Promise.allSettled()` reports it. */
export type CommandOutcome<T = Buffer> = PromiseSettledResult<T>;

/**
 * The outcomes of the commands of one call of `submitCommands()`. Iterate over it to get them as they arrive, in the order of the
 * payloads, or await `settled()` for all of them. It rejects no promise: a command that fails is an outcome like any other.
 */
export class CommandOutcomes<T = Buffer> implements AsyncIterable<CommandOutcome<T>> {
  readonly #outcomes: (CommandOutcome<T> | undefined)[];
  #unsettled: number;
  /** Iterations that wait for an outcome, and calls of `settled()`, which wait for the number of commands. */
  readonly #waiting = new Map<number, (() => void)[]>();

  /** Passes outcomes on to the outcomes that were made of these. */
  #forward: ((index: number, outcome: CommandOutcome<T>) => void) | undefined;

  /** @internal Only the client makes outcomes. */
  constructor(length: number) {
    this.#outcomes = new Array<CommandOutcome<T> | undefined>(length).fill(undefined);
    this.#unsettled = length;
  }

  /** The number of commands. */
  get length(): number {
    return this.#outcomes.length;
  }

  /** Resolves with all outcomes, in the order of the payloads, when the last command has settled. */
  async settled(): Promise<CommandOutcome<T>[]> {
    if (this.#unsettled > 0) await this.#wait(this.length);
    return this.#outcomes as CommandOutcome<T>[];
  }

  /** Iterates over the outcomes in the order of the payloads. */
  [Symbol.asyncIterator](): AsyncIterator<CommandOutcome<T>, undefined> {
    let next = 0;
    // An async generator would take three turns of the microtask queue for each outcome.
    const result = (index: number): IteratorResult<CommandOutcome<T>, undefined> =>
      index < this.length ? { done: false, value: this.#outcomes[index] as CommandOutcome<T> } : { done: true, value: undefined };
    return {
      next: () => {
        const index = next;
        next += 1;
        const isThere = index >= this.length || this.#outcomes[index] !== undefined;
        return isThere ? Promise.resolve(result(index)) : this.#wait(index).then(() => result(index));
      },
    };
  }

  /** @internal Settles a command with its answer, or with the promise that is rejected with its error. */
  settle(index: number, answer: T | Promise<T>): void {
    if (answer instanceof Promise) {
      answer.then(
        (value) => this.#settle(index, { status: 'fulfilled', value }),
        (reason: unknown) => this.#settle(index, { status: 'rejected', reason }),
      );
    } else {
      this.#settle(index, { status: 'fulfilled', value: answer });
    }
  }

  /** @internal Returns outcomes whose answers are converted. An answer whose conversion throws is rejected with the error. */
  map<U>(convert: (answer: T) => U): CommandOutcomes<U> {
    const mapped = new CommandOutcomes<U>(this.length);
    this.#forward = (index, outcome) => {
      if (outcome.status === 'rejected') {
        mapped.#settle(index, outcome);
        return;
      }
      try {
        mapped.#settle(index, { status: 'fulfilled', value: convert(outcome.value) });
      } catch (reason) {
        mapped.#settle(index, { status: 'rejected', reason });
      }
    };
    for (const [index, outcome] of this.#outcomes.entries()) if (outcome !== undefined) this.#forward(index, outcome);
    return mapped;
  }

  #settle(index: number, outcome: CommandOutcome<T>): void {
    this.#outcomes[index] = outcome;
    this.#forward?.(index, outcome);
    this.#unsettled -= 1;
    this.#wake(index);
    if (this.#unsettled === 0) this.#wake(this.length);
  }

  #wait(index: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(index);
      if (waiting === undefined) this.#waiting.set(index, [resolve]);
      else waiting.push(resolve);
    });
  }

  #wake(index: number): void {
    if (this.#waiting.size === 0) return;
    const waiting = this.#waiting.get(index) ?? [];
    this.#waiting.delete(index);
    for (const resolve of waiting) resolve();
  }
}
