/** Calls of the native half other than requests. */

/** A table of pending calls. Their numbers count up, so an answer that comes too late matches no call. */
export class Calls<T> {
  #last = 0;
  readonly #entries = new Map<number, T>();

  /** Adds an entry and returns its number, which is never 0. */
  add(entry: T): number {
    do this.#last = (this.#last + 1) >>> 0;
    while (this.#last === 0 || this.#entries.has(this.#last));
    this.#entries.set(this.#last, entry);
    return this.#last;
  }

  /** Removes an entry and returns it. */
  take(number: number): T | undefined {
    const entry = this.#entries.get(number);
    this.#entries.delete(number);
    return entry;
  }

  /** Returns all entries with their numbers. */
  entries(): { number: number; entry: T }[] {
    return Array.from(this.#entries, ([number, entry]) => ({ number, entry }));
  }

  /** Removes all entries and returns them. */
  drain(): T[] {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    return entries;
  }
}
