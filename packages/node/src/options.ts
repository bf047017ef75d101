/** Options of calls. */

import { ValidationError } from './errors';
import { DEFAULT_TIMEOUT, NO_TIMEOUT } from './layout';

/** Options of connect(). */
export interface ConnectOptions {
  /** Cancels this call. The attempt goes on while another caller waits for it. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; `Infinity` waits for ever. Default 30000. */
  readonly timeout?: number | undefined;
}

/** Options of a request. */
export interface RequestOptions {
  /** Cancels the request, with the same effect as its timeout. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds from this call to the answer; `Infinity` waits for ever. Default `requestTimeout`. */
  readonly timeout?: number | undefined;
}

/** Options of disconnect(). */
export interface DisconnectOptions {
  /** How many milliseconds the requests already submitted may take to be answered. Default 5000. */
  readonly timeout?: number | undefined;
}

/** A time as the native half reads it: whole milliseconds that fit into 32 bits, beside two values that mean something else. */
function toTimeout(timeout: number | undefined): number {
  if (timeout === undefined) return DEFAULT_TIMEOUT;
  if (typeof timeout !== 'number' || !(timeout >= 0)) throw new ValidationError('timeout: must be a number of milliseconds from 0 on');
  if (timeout === Infinity) return NO_TIMEOUT;
  return Math.min(Math.ceil(timeout), DEFAULT_TIMEOUT - 1);
}

/** Checks options. The timeout is `USUAL` if it is not given. */
export function toOptions(options: RequestOptions): { timeout: number; signal: AbortSignal | undefined } {
  if (typeof options !== 'object' || options === null) throw new ValidationError('the options must be an object');
  return { timeout: toTimeout(options.timeout), signal: toSignal(options.signal) };
}

function toSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  // Other realms and some libraries have their own classes.
  if (signal !== undefined && !(signal instanceof AbortSignal) && typeof (signal as AbortSignal | null)?.addEventListener !== 'function') {
    throw new ValidationError('signal: must be an AbortSignal');
  }
  return signal;
}
