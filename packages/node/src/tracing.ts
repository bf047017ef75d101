/** Calls of clients on the tracing channels of `node:diagnostics_channel`. */

import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel';

import type { MemberId } from './ids';

/**
 * A call of a client, as subscribers of the tracing channels `zraft:command`, `zraft:query` and `zraft:connect` get it. The object
 * is the same in all events of one call. It has neither payloads nor session ids.
 *
 * The events are those of `tracePromise()`: `start` and `end` around the call itself, `asyncStart` and `asyncEnd` when its promise
 * settles, and `error` before them if it fails. A call that throws at once has `start`, `error` and `end`. The answer is not in
 * the object.
 */
export interface TracedCall {
  readonly operation: 'command' | 'query' | 'connect';
  /** The length of the payload in bytes; undefined for `connect()`. */
  readonly payloadBytes?: number;
  /** The member that the session is connected to, and its endpoint. Undefined if there is none yet; up to date in every event. */
  memberId?: MemberId | undefined;
  endpoint?: string | undefined;
  /** Why the call failed. */
  error?: unknown;
}

type Channel = TracingChannel<unknown, TracedCall>;

/** @internal One channel for each operation. */
export const channels: Readonly<Record<TracedCall['operation'], Channel>> = {
  command: tracingChannel<unknown, TracedCall>('zraft:command'),
  query: tracingChannel<unknown, TracedCall>('zraft:query'),
  connect: tracingChannel<unknown, TracedCall>('zraft:connect'),
};

/** @internal Returns true if a channel has subscribers. `TracingChannel.hasSubscribers` is the same, but Bun does not have it. */
export function isTraced(operation: TracedCall['operation']): boolean {
  const { start, end, asyncStart, asyncEnd, error } = channels[operation];
  return start.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers;
}

/**
 * @internal Traces a call. `locate` writes the present member into the message. `tracePromise()` cannot be used, since it adds
 * the result to the message.
 */
export function trace<T>(call: TracedCall, locate: (call: TracedCall) => void, run: () => Promise<T>): Promise<T> {
  const { start, end, asyncStart, asyncEnd, error } = channels[call.operation];
  const settled = (): void => {
    locate(call);
    asyncStart.publish(call);
    asyncEnd.publish(call);
  };
  const failed = (reason: unknown): void => {
    call.error = reason;
    locate(call);
    error.publish(call);
  };
  locate(call);
  return start.runStores(call, () => {
    let promise: Promise<T>;
    try {
      promise = run();
    } catch (reason) {
      failed(reason);
      throw reason;
    } finally {
      end.publish(call);
    }
    return promise.then(
      (value) => {
        settled();
        return value;
      },
      (reason: unknown) => {
        failed(reason);
        settled();
        throw reason;
      },
    );
  });
}
