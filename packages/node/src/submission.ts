/** Submitting a request: its payload is checked, there is room for it, and its signal is followed. */

import type { Bridge } from './bridge';
import { ValidationError } from './errors';
import { DEFAULT_TIMEOUT, Operation } from './layout';
import { type RequestOptions, toOptions } from './options';
import { isPayload, lengthOf } from './payloads';
import { cancelled, overloaded } from './rejections';
import { NONE } from './requests';
import { listen, unlisten } from './signals';

/** Submits a request. Throws ValidationError before anything has begun. */
export function submit(
  bridge: Bridge,
  operation: Operation.Command | Operation.Query,
  payload: Uint8Array,
  options: RequestOptions | undefined,
): Promise<Buffer> {
  if (!isPayload(payload)) throw new ValidationError('the payload must be a Uint8Array or a Buffer');
  if (options === undefined) return enqueue(bridge, operation, payload, DEFAULT_TIMEOUT);
  check(bridge, lengthOf(payload));
  const { timeout, signal } = toOptions(options);
  return signal === undefined
    ? enqueue(bridge, operation, payload, timeout)
    : enqueueWithSignal(bridge, operation, payload, timeout, signal);
}

/** Throws if no request can have a payload of this length. */
function check(bridge: Bridge, length: number): void {
  const failure = bridge.payloadFailure(length);
  if (failure !== undefined) throw new ValidationError(failure.message);
}

/** Runs no code of the caller between reading the payload's length and copying it. A request that throws takes no slot. */
function enqueue(bridge: Bridge, operation: Operation, payload: Uint8Array, timeout: number): Promise<Buffer> {
  const { requests } = bridge;
  requests.slot = NONE;
  const length = lengthOf(payload);
  check(bridge, length);
  if (!bridge.hasRoom(length)) {
    requests.refused = length;
    return overloaded();
  }
  return bridge.request(operation, payload, length, timeout);
}

/** Listens to the signal before anything else: a signal of any class may come here, and listening may throw or run any code. */
function enqueueWithSignal(
  bridge: Bridge,
  operation: Operation,
  payload: Uint8Array,
  timeout: number,
  signal: AbortSignal,
): Promise<Buffer> {
  if (signal.aborted) return cancelled(signal);
  const { requests } = bridge;
  let slot = NONE;
  let generation = 0;
  let isAborted = false;
  const abort = (): void => {
    isAborted = true;
    if (slot !== NONE) bridge.post(Operation.Cancel, slot, 0, 0, generation);
  };
  listen(signal, abort);
  let promise: Promise<Buffer>;
  try {
    if (isAborted) return cancelled(signal);
    promise = enqueue(bridge, operation, payload, timeout);
    ({ slot, generation } = requests);
  } finally {
    if (slot === NONE) unlisten(signal, abort);
  }
  if (slot !== NONE) requests.hook(slot, generation, signal, abort);
  return promise;
}

/**
 * Resolves when there is room for the payload that was last refused, or for any payload if none was. Never resolves before the
 * event loop has had a turn.
 */
export async function ready(bridge: Bridge): Promise<void> {
  const { requests } = bridge;
  const { refused } = requests;
  await bridge.call<undefined>(Operation.Ready, refused);
  // The native half may answer many calls in one turn. A caller that submits in a loop would keep out all other work.
  await new Promise(setImmediate);
  if (requests.refused === refused) requests.refused = 1;
}
