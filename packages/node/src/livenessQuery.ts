/** The query by which an idle client finds out whether its member leads. */

import { types } from 'node:util';

import { ValidationError } from './errors';

/**
 * A query that the client itself sends when nothing else shows that its member leads, so that a session that only listens for server
 * requests leaves a leader that was cut off from its cluster. Such a leader still answers KeepAlives, but no query.
 *
 * It is sent while no request of the application is pending and none was answered for one interval. Its answer is dropped. It counts in
 * `sent`, `inFlight` and `answered` of the stats, and does not hold up a `disconnect()`.
 */
export interface LivenessQuery {
  /** The payload of a query that the application answers cheaply. */
  readonly payload: Uint8Array;
  /**
   * For how long nothing may show that the member leads, in milliseconds. Default 10000, or a third of `sessionTimeout` if that is shorter;
   * from 1 ms to a third of `sessionTimeout`.
   */
  readonly interval?: number | undefined;
}

const { isUint8Array } = types;

/** The longest payload of a liveness query: it is kept for ever, and sent again and again. */
const MAX_LIVENESS_PAYLOAD = 64 << 10;

/** @internal The liveness query as the native half reads it. */
export function toLivenessQuery(given: unknown): object | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new ValidationError('livenessQuery: must be an object');
  const { payload, interval, ...others } = given as Readonly<Record<string, unknown>>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new ValidationError(`livenessQuery.${unknown}: there is no such setting`);
  if (!isUint8Array(payload)) throw new ValidationError('livenessQuery.payload: must be a Uint8Array');
  if (payload.length > MAX_LIVENESS_PAYLOAD) throw new ValidationError('livenessQuery.payload: must not be longer than 64 KiB');
  if (interval !== undefined && !Number.isFinite(interval)) throw new ValidationError('livenessQuery.interval: must be a finite number');
  return { payload: [...payload], interval };
}
