/** What waits for an answer of the native half. */

import { type Failure, type RaftClientError, toError } from './errors';
import { facts } from './native';
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

/** Settles a request's promise. */
type Resolve = (answer: Buffer | Promise<never>) => void;

let resolveLast: Resolve | undefined;

/** One executor for all promises: each would need a closure, and what it closes over, else. */
function executor(resolve: Resolve): void {
  resolveLast = resolve;
}

/** No slot. */
export const NONE = -1;

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
  /** How often each slot was used before: what names an earlier use of a slot matches none. */
  #generations = new Int32Array(64);
  #free = NONE;
  readonly #signals = new Map<number, { readonly signal: AbortSignal; readonly onAbort: () => void }>();
  /** Requests that failed and are followed all the same. They keep their slots. */
  readonly #detached = new Map<number, Resolution>();

  /** The request that was added last. */
  slot = NONE;
  generation = 0;

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
    this.generation = this.#generations[slot] as number;
    return promise;
  }

  /** The payload's length of a request that is not settled. */
  lengthAt(slot: number): number {
    const number = this.#numbers[slot] as number;
    return number < 0 ? ~number : number;
  }

  /** Keeps the hook that listens to the signal until the request is settled. */
  hook(slot: number, generation: number, signal: AbortSignal, onAbort: () => void): void {
    if (this.#isOpen(slot, generation)) this.#signals.set(slot, { signal, onAbort });
    else unlisten(signal, onAbort);
  }

  answer(slot: number, generation: number, payload: Buffer): void {
    const resolve = this.#settle(slot, generation);
    if (resolve === undefined) return;
    this.#release(slot);
    if (this.#signals.size > 0) this.#unhook(slot);
    resolve(payload);
  }

  fail(slot: number, generation: number, failure: Failure): void {
    const resolve = this.#settle(slot, generation);
    if (resolve === undefined) return;
    this.#release(slot);
    reject(resolve, new Rejection(failure, this.#unhook(slot)?.reason));
  }

  /** The request failed, and is followed until it is settled late. */
  detach(slot: number, generation: number, failure: Failure): void {
    const resolve = this.#settle(slot, generation);
    if (resolve === undefined) return;
    const resolution = new Resolution();
    this.#detached.set(slot, resolution);
    reject(resolve, new Rejection(failure, this.#unhook(slot)?.reason, resolution.promise));
  }

  /** What became of a request after it failed. */
  settleLate(slot: number, generation: number, outcome: Buffer | Failure): void {
    const resolution = this.#detached.get(slot);
    if (resolution === undefined || this.#generations[slot] !== generation) return;
    this.#detached.delete(slot);
    this.#release(slot);
    resolution.settle(outcome instanceof Uint8Array ? outcome : new Rejection(outcome));
  }

  /** Fails all: commands in the first way, queries in the second. Only for when the native half is gone. */
  failAll(command: Failure, query: Failure): void {
    for (const slot of this.#resolves.keys()) {
      this.fail(slot, this.#generations[slot] as number, (this.#numbers[slot] as number) < 0 ? query : command);
    }
    for (const slot of this.#detached.keys()) this.settleLate(slot, this.#generations[slot] as number, command);
  }

  #isOpen(slot: number, generation: number): boolean {
    return this.#resolves[slot] !== undefined && this.#generations[slot] === generation;
  }

  #settle(slot: number, generation: number): Resolve | undefined {
    const resolve = this.#resolves[slot];
    if (resolve === undefined || this.#generations[slot] !== generation) return undefined;
    this.#resolves[slot] = undefined;
    this.open -= 1;
    this.bytes -= this.lengthAt(slot);
    return resolve;
  }

  #release(slot: number): void {
    this.#generations[slot] = ((this.#generations[slot] as number) + 1) | 0;
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
    const generations = new Int32Array(numbers.length);
    numbers.set(this.#numbers);
    generations.set(this.#generations);
    this.#numbers = numbers;
    this.#generations = generations;
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

const { texts } = facts;

/** The request was cancelled before it was asked. */
export function cancelled<T>(signal: AbortSignal): Promise<T> {
  return rejected({ code: 'CANCELLED', message: texts.cancelled, maybeExecuted: false }, signal.reason);
}

/** There is no room for the request. */
export function overloaded<T>(): Promise<T> {
  return rejected({ code: 'OVERLOADED', message: texts.overloaded, maybeExecuted: false });
}

/** A table of what waits, by numbers that count up: one that comes too late names nothing. */
export class Calls<T> {
  #last = 0;
  readonly #entries = new Map<number, T>();

  /** The number of a new entry, which is never 0. */
  add(entry: T): number {
    do this.#last = (this.#last + 1) >>> 0;
    while (this.#last === 0 || this.#entries.has(this.#last));
    this.#entries.set(this.#last, entry);
    return this.#last;
  }

  take(number: number): T | undefined {
    const entry = this.#entries.get(number);
    this.#entries.delete(number);
    return entry;
  }

  /** Takes all. */
  drain(): T[] {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    return entries;
  }
}
