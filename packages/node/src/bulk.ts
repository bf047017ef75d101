/** Submitting many commands in one call. */

import type { Bridge } from './bridge';
import { ValidationError } from './errors';
import { Operation } from './layout';
import { type RequestOptions, toOptions } from './options';
import { CommandOutcomes } from './outcomes';
import { isPayload, lengthOf } from './payloads';
import { cancelled, overloaded } from './rejections';
import { listen, unlisten } from './signals';

/** Checks payloads and returns them as an array. Throws a ValidationError that names the payload at fault. */
export function checkedPayloads(bridge: Bridge, payloads: Iterable<Uint8Array>): Uint8Array[] {
  if (typeof (payloads as Iterable<Uint8Array> | null | undefined)?.[Symbol.iterator] !== 'function') {
    throw new ValidationError('the payloads must be an array, or another iterable');
  }
  const all = Array.from(payloads);
  for (let index = 0; index < all.length; index++) {
    const payload = all[index];
    if (!isPayload(payload)) throw new ValidationError(`payload ${index}: must be a Uint8Array or a Buffer`);
    const failure = bridge.payloadFailure(lengthOf(payload));
    if (failure !== undefined) throw new ValidationError(`payload ${index}: ${failure.message}`);
  }
  return all;
}

/** Submits commands as one batch. Throws a ValidationError before anything has begun. */
export function submitAll(bridge: Bridge, payloads: Iterable<Uint8Array>, options: RequestOptions): CommandOutcomes {
  const { timeout, signal } = toOptions(options);
  const isAborted = signal?.aborted;
  const all = checkedPayloads(bridge, payloads);
  const outcomes = new CommandOutcomes(all.length);
  if (signal !== undefined && isAborted === true) {
    for (const index of all.keys()) outcomes.settle(index, cancelled(signal));
    return outcomes;
  }
  if (signal === undefined) enqueue(bridge, all, timeout, outcomes);
  else enqueueWithSignal(bridge, all, timeout, outcomes, signal);
  return outcomes;
}

/** Runs no code of the caller. A command for which there is no room settles as one that is submitted alone. */
function enqueue(
  bridge: Bridge,
  payloads: readonly Uint8Array[],
  timeout: number,
  outcomes: CommandOutcomes,
  hook?: (slot: number, generation: number) => void,
): void {
  bridge.requestAll(Operation.Command, payloads, timeout, {
    settle: (index, answer) => outcomes.settle(index, answer),
    overloaded: (index) => outcomes.settle(index, overloaded()),
    hook,
  });
}

/** Follows one signal for all commands. */
function enqueueWithSignal(
  bridge: Bridge,
  payloads: readonly Uint8Array[],
  timeout: number,
  outcomes: CommandOutcomes,
  signal: AbortSignal,
): void {
  const pending: { readonly slot: number; readonly generation: number }[] = [];
  const state = { isAborted: false };
  const abort = (): void => {
    state.isAborted = true;
    // A command that has settled is not cancelled: its slot has another generation by now.
    for (const { slot, generation } of pending) bridge.post(Operation.Cancel, slot, 0, 0, generation);
  };
  // A signal of another class may throw, or abort at once.
  listen(signal, abort);
  if (state.isAborted) {
    for (const index of payloads.keys()) outcomes.settle(index, cancelled(signal));
    return;
  }
  enqueue(bridge, payloads, timeout, outcomes, (slot, generation) => {
    pending.push({ slot, generation });
    // The signal's reason is the cause of the error.
    bridge.requests.hook(slot, generation, signal, nothing);
  });
  void outcomes.settled().then(() => unlisten(signal, abort));
}

function nothing(): void {}
