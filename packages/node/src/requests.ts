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

/** Settles a request's promise. */
type Resolve = (answer: Buffer | Promise<never>) => void;

let resolveLast: Resolve | undefined;

/** One executor for all promises: each would need a closure, and what it closes over, else. */
function executor(resolve: Resolve): void {
  resolveLast = resolve;
}

const NONE = -1;

/**
 * The requests that were submitted, by slots that are used again. There are many, and next to all of them are answered, so
 * nothing is made for one but its promise; what an error needs is made when there is one.
 */
export class Requests {
  /** How many promises are not settled, and the bytes of their payloads. */
  open = 0;
  bytes = 0;
  readonly #resolves: (Resolve | undefined)[] = [];
  /** The length of a command's payload, the complement of a query's; of a free slot, the next free one. */
  #numbers = new Int32Array(64);
  #free = NONE;
  readonly #signals = new Map<number, { readonly signal: AbortSignal; readonly onAbort: () => void }>();
  /** Requests that failed and are followed all the same. They keep their slots. */
  readonly #detached = new Map<number, Resolution>();

  /** The slot of the request that was added last. */
  slot = NONE;

  /** The promise of a request with a payload of so many bytes. */
  add(length: number, isQuery: boolean): Promise<Buffer> {
    let slot = this.#free;
    if (slot === NONE) {
      slot = this.#resolves.length;
      if (slot === this.#numbers.length) this.#grow();
    } else {
      this.#free = this.#numbers[slot] as number;
    }
    const promise = new Promise<Buffer>(executor);
    this.#resolves[slot] = resolveLast;
    resolveLast = undefined;
    this.#numbers[slot] = isQuery ? ~length : length;
    this.open += 1;
    this.bytes += length;
    this.slot = slot;
    return promise;
  }

  /** Calls `onAbort` when the signal aborts, until the request is settled. */
  hook(slot: number, signal: AbortSignal, onAbort: () => void): void {
    this.#signals.set(slot, { signal, onAbort });
    listen(signal, onAbort);
  }

  answer(slot: number, payload: Buffer): void {
    const resolve = this.#settle(slot);
    if (resolve === undefined) return;
    this.#release(slot);
    if (this.#signals.size > 0) this.#unhook(slot);
    resolve(payload);
  }

  fail(slot: number, failure: Failure): void {
    const resolve = this.#settle(slot);
    if (resolve === undefined) return;
    this.#release(slot);
    reject(resolve, new Rejection(failure, this.#unhook(slot)?.reason));
  }

  /** The request failed, and is followed until it is settled late. */
  detach(slot: number, failure: Failure): void {
    const resolve = this.#settle(slot);
    if (resolve === undefined) return;
    const resolution = new Resolution();
    this.#detached.set(slot, resolution);
    reject(resolve, new Rejection(failure, this.#unhook(slot)?.reason, resolution.promise));
  }

  /** What became of a request after it failed. */
  settleLate(slot: number, outcome: Buffer | Failure): void {
    const resolution = this.#detached.get(slot);
    if (resolution === undefined) return;
    this.#detached.delete(slot);
    this.#release(slot);
    resolution.settle(outcome instanceof Uint8Array ? outcome : new Rejection(outcome));
  }

  /** Fails all: commands in the first way, queries in the second. */
  failAll(command: Failure, query: Failure): void {
    for (const slot of this.#resolves.keys()) this.fail(slot, (this.#numbers[slot] as number) < 0 ? query : command);
    for (const slot of this.#detached.keys()) this.settleLate(slot, command);
  }

  #settle(slot: number): Resolve | undefined {
    const resolve = this.#resolves[slot];
    if (resolve === undefined) return undefined;
    this.#resolves[slot] = undefined;
    this.open -= 1;
    const number = this.#numbers[slot] as number;
    this.bytes -= number < 0 ? ~number : number;
    return resolve;
  }

  #release(slot: number): void {
    this.#numbers[slot] = this.#free;
    this.#free = slot;
  }

  /** Nobody listens to the signal for it any more. */
  #unhook(slot: number): AbortSignal | undefined {
    const hook = this.#signals.get(slot);
    if (hook === undefined) return undefined;
    this.#signals.delete(slot);
    unlisten(hook.signal, hook.onAbort);
    return hook.signal;
  }

  #grow(): void {
    const numbers = new Int32Array(2 * this.#numbers.length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }
}

/**
 * Rejects a promise with an error whose stack shows who waits. The engine looks for that where the error is made: it goes
 * from a promise to the one that this one settles, and to the function that awaits the last of them. So the error is made
 * only after the promises are tied to each other, which takes a turn.
 */
function reject(resolve: Resolve, rejection: Rejection): void {
  resolve(Promise.resolve(rejection).then(pass).then(raise));
}

function pass(rejection: Rejection): Rejection {
  return rejection;
}

/** What is rejected without asking the native half, in its words. */
function rejected<T>(failure: Failure, cause?: unknown): Promise<T> {
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it becomes one
  return Promise.reject<T>(new Rejection(failure, cause)).then(undefined, raise);
}

/** The request was cancelled before it was asked. */
export function cancelled<T>(signal: AbortSignal): Promise<T> {
  return rejected({ code: 'CANCELLED', message: 'cancelled; not executed', maybeExecuted: false }, signal.reason);
}

/** There is no room for the request. */
export function overloaded<T>(): Promise<T> {
  return rejected({ code: 'OVERLOADED', message: 'too many requests wait already; not executed', maybeExecuted: false });
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
