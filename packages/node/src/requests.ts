/** What waits for an answer of the native half. */

import { type Failure, type RaftClientError, toError } from './errors';
import { unlisten } from './signals';

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

/** A request that was submitted. */
export class Pending {
  resolve!: (answer: Buffer) => void;
  reject!: (rejection: Rejection) => void;
  signal: AbortSignal | undefined = undefined;
  onAbort: (() => void) | undefined = undefined;
  #resolution: Resolution | undefined = undefined;

  constructor(readonly length: number) {}

  /** Nobody listens to the signal for it any more. */
  unhook(): void {
    if (this.signal !== undefined && this.onAbort !== undefined) unlisten(this.signal, this.onAbort);
  }

  fail(failure: Failure): void {
    this.unhook();
    this.reject(new Rejection(failure, this.signal?.reason));
  }

  /** It failed, and is followed all the same. */
  detach(failure: Failure): void {
    this.unhook();
    this.#resolution = new Resolution();
    this.reject(new Rejection(failure, this.signal?.reason, this.#resolution.promise));
  }

  get isDetached(): boolean {
    return this.#resolution !== undefined;
  }

  /** What became of it after it failed. */
  settleLate(outcome: Buffer | Failure): void {
    this.#resolution?.settle(outcome instanceof Uint8Array ? outcome : new Rejection(outcome));
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
    return entries as T[];
  }
}
