/** What waits for an answer of the native half. */

import { type Failure, type RaftClientError, toError } from './errors';
import { listen, unlisten } from './signals';

/** Why a promise of the client is rejected; the error itself is made where its stack shows who waits. */
export class Rejection {
  constructor(
    readonly failure: Failure,
    readonly cause?: unknown,
    readonly resolution?: () => Promise<Buffer>,
  ) {}

  toError(): RaftClientError {
    return toError(this.failure, this.cause, this.resolution);
  }
}

/** Turns a rejection into its error: the second argument of `then`. */
export function raise(rejection: Rejection): never {
  const error = rejection.toError();
  Error.captureStackTrace(error, raise);
  throw error;
}

/** The answer that a request which timed out or was cancelled may still get. */
class Resolution {
  #outcome: Buffer | Rejection | undefined;
  #waiting: { resolve: (answer: Buffer) => void; reject: (rejection: Rejection) => void }[] = [];

  /** Its promise, made when it is asked for. */
  readonly promise = (): Promise<Buffer> => {
    return new Promise<Buffer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#tell();
    }).then(undefined, raise);
  };

  settle(outcome: Buffer | Rejection): void {
    this.#outcome = outcome;
    this.#tell();
  }

  #tell(): void {
    const outcome = this.#outcome;
    if (outcome === undefined) return;
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (outcome instanceof Rejection) reject(outcome);
      else resolve(outcome);
    }
  }
}

/**
 * A request that was submitted. There are many, and next to all of them are answered, so it holds no more than an answer
 * needs; what an error needs is made when there is one.
 */
export class Pending {
  /** What only some have. */
  #more: { signal?: AbortSignal; onAbort?: () => void; resolution?: Resolution } | undefined = undefined;

  constructor(
    readonly length: number,
    readonly resolve: (answer: Buffer) => void,
    private readonly reject: (error: unknown) => void,
  ) {}

  /** Calls `onAbort` when the signal aborts, until it is settled. */
  hook(signal: AbortSignal, onAbort: () => void): void {
    this.#more = { signal, onAbort };
    listen(signal, onAbort);
  }

  answer(payload: Buffer): void {
    if (this.#more !== undefined) this.#unhook();
    this.resolve(payload);
  }

  fail(failure: Failure, resolution?: () => Promise<Buffer>): void {
    this.#unhook();
    const rejection = new Rejection(failure, this.#more?.signal?.reason, resolution);
    // The engine looks for who waits where the error is made: it goes from a promise to those that this one resolves or
    // rejects, and to the function that awaits the last of them.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it becomes one
    Promise.reject(rejection).then(undefined, raise).then(this.resolve, this.reject);
  }

  /** It failed, and is followed all the same. */
  detach(failure: Failure): void {
    const resolution = new Resolution();
    this.fail(failure, resolution.promise);
    this.#more = { resolution };
  }

  get isDetached(): boolean {
    return this.#more?.resolution !== undefined;
  }

  /** What became of it after it failed. */
  settleLate(outcome: Buffer | Failure): void {
    this.#more?.resolution?.settle(outcome instanceof Uint8Array ? outcome : new Rejection(outcome));
  }

  /** Nobody listens to the signal for it any more. */
  #unhook(): void {
    const { signal, onAbort } = this.#more ?? {};
    if (signal !== undefined && onAbort !== undefined) unlisten(signal, onAbort);
  }
}

/** A table of what waits, by small numbers that are used again. */
export class Slots<T> {
  readonly #entries: (T | undefined)[] = [];
  readonly #free: number[] = [];

  add(entry: T): number {
    const slot = this.#free.pop() ?? this.#entries.length;
    this.#entries[slot] = entry;
    return slot;
  }

  get(slot: number): T | undefined {
    return this.#entries[slot];
  }

  take(slot: number): T | undefined {
    const entry = this.#entries[slot];
    if (entry !== undefined) {
      this.#entries[slot] = undefined;
      this.#free.push(slot);
    }
    return entry;
  }

  /** Takes all. */
  drain(): T[] {
    const entries = this.#entries.filter((entry) => entry !== undefined);
    this.#entries.length = 0;
    this.#free.length = 0;
    return entries;
  }
}
