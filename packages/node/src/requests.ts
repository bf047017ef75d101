/** Requests that were submitted and have no final outcome yet. */

import type { Failure } from './errors';
import { raise, Rejection } from './rejections';
import { unlisten } from './signals';

/** The late answer of a request that timed out or was cancelled. */
class Resolution {
  #outcome: Buffer | Rejection | undefined;
  #waiting: { resolve: (answer: Buffer) => void; reject: (rejection: Rejection) => void }[] = [];

  /** Returns a promise of the outcome. */
  readonly promise = (): Promise<Buffer> => {
    return new Promise<Buffer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#settleWaiting();
    }).then(undefined, raise);
  };

  settle(outcome: Buffer | Rejection): void {
    this.#outcome = outcome;
    this.#settleWaiting();
  }

  #settleWaiting(): void {
    const outcome = this.#outcome;
    if (outcome === undefined) return;
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (outcome instanceof Rejection) reject(outcome);
      else resolve(outcome);
    }
  }
}

/** Settles a request. */
export type Resolve = (answer: Buffer | Promise<never>) => void;

let resolveLast: Resolve | undefined;

/** The one executor of all requests' promises: a closure for each would be one more allocation per request. */
function executor(resolve: Resolve): void {
  resolveLast = resolve;
}

/** No slot. */
export const NONE = -1;

/** The number of slots to begin with; the table doubles when it is full. */
const FIRST_SLOTS = 64;

/**
 * The table of requests, in slots that are reused. Nearly all requests are answered, so a request allocates nothing but its
 * promise; what an error needs is made when there is one.
 */
export class Requests {
  /** The number of requests whose promise is not settled, and the bytes of their payloads. */
  unsettled = 0;
  bytes = 0;
  /** The length of the payload that was last refused for want of room; 1 if none was. `ready()` waits for this room. */
  refused = 1;
  readonly #resolves: (Resolve | undefined)[] = [];
  /** Of a command the payload's length, of a query its complement, of a free slot the next free slot. */
  #numbers = new Int32Array(FIRST_SLOTS);
  /** How often each slot was used before. A record of an earlier use matches no later one. */
  #generations = new Int32Array(FIRST_SLOTS);
  #free = NONE;
  readonly #signals = new Map<number, { readonly signal: AbortSignal; readonly onAbort: () => void }>();
  /** Commands that failed and are still tracked. They keep their slots. */
  readonly #detached = new Map<number, Resolution>();

  /** The slot and the generation of the request that was added last. */
  slot = NONE;
  generation = 0;

  /** Adds a request with a payload of this length and returns its promise. */
  add(length: number, isQuery: boolean): Promise<Buffer> {
    const promise = new Promise<Buffer>(executor);
    this.place(length, isQuery, resolveLast as Resolve);
    resolveLast = undefined;
    return promise;
  }

  /** Adds a request with a payload of this length, which is settled by a function. */
  place(length: number, isQuery: boolean, resolve: Resolve): void {
    let slot = this.#free;
    if (slot === NONE) {
      slot = this.#resolves.length;
      if (slot === this.#numbers.length) this.#grow();
    } else {
      this.#free = this.#numbers[slot] as number;
    }
    this.#resolves[slot] = resolve;
    this.#numbers[slot] = isQuery ? ~length : length;
    this.unsettled += 1;
    this.bytes += length;
    this.slot = slot;
    this.generation = this.#generations[slot] as number;
  }

  /** Returns the payload's length of an unsettled request. */
  lengthAt(slot: number): number {
    const number = this.#numbers[slot] as number;
    return number < 0 ? ~number : number;
  }

  /** Keeps the signal's listener until the request is settled. */
  hook(slot: number, generation: number, signal: AbortSignal, onAbort: () => void): void {
    if (this.#isUnsettled(slot, generation)) this.#signals.set(slot, { signal, onAbort });
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

  /** Fails a command and keeps its slot until `settleLate()`. */
  detach(slot: number, generation: number, failure: Failure): void {
    const resolve = this.#settle(slot, generation);
    if (resolve === undefined) return;
    const resolution = new Resolution();
    this.#detached.set(slot, resolution);
    reject(resolve, new Rejection(failure, this.#unhook(slot)?.reason, resolution.promise));
  }

  /** Settles the resolution of a detached command. */
  settleLate(slot: number, generation: number, outcome: Buffer | Failure): void {
    const resolution = this.#detached.get(slot);
    if (resolution === undefined || this.#generations[slot] !== generation) return;
    this.#detached.delete(slot);
    this.#release(slot);
    resolution.settle(outcome instanceof Uint8Array ? outcome : new Rejection(outcome));
  }

  /** Fails all commands with one failure and all queries with the other, after the native half has ended. */
  failAll(command: Failure, query: Failure): void {
    for (const slot of this.#resolves.keys()) {
      this.fail(slot, this.#generations[slot] as number, (this.#numbers[slot] as number) < 0 ? query : command);
    }
    for (const slot of this.#detached.keys()) this.settleLate(slot, this.#generations[slot] as number, command);
  }

  #isUnsettled(slot: number, generation: number): boolean {
    return this.#resolves[slot] !== undefined && this.#generations[slot] === generation;
  }

  #settle(slot: number, generation: number): Resolve | undefined {
    const resolve = this.#resolves[slot];
    if (resolve === undefined || this.#generations[slot] !== generation) return undefined;
    this.#resolves[slot] = undefined;
    this.unsettled -= 1;
    this.bytes -= this.lengthAt(slot);
    return resolve;
  }

  #release(slot: number): void {
    this.#generations[slot] = ((this.#generations[slot] as number) + 1) | 0;
    this.#numbers[slot] = this.#free;
    this.#free = slot;
  }

  /** Takes the request's listener off its signal and returns the signal. */
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
 * Rejects a promise with an error whose stack shows the code that awaits it. The engine walks that stack where the error is
 * made: from a promise to the one that it settles, and to the function that awaits the last of them. So the error is made
 * after the promises are linked to each other, which takes one turn of the microtask queue.
 */
function reject(resolve: Resolve, rejection: Rejection): void {
  resolve(Promise.resolve(rejection).then(pass).then(raise));
}

function pass(rejection: Rejection): Rejection {
  return rejection;
}
