/**
 * The payloads of ZIO Raft's key-value store.
 *
 * @packageDocumentation
 */

import { ProtocolError, ValidationError } from './errors';
import { native } from './native';

/** A watched key has this value. */
export interface Notification {
  readonly key: string;
  readonly value: string;
}

function encoding<T>(texts: readonly string[], encode: () => T): T {
  // Half a surrogate pair would become another character.
  if (texts.some((text) => /\p{Surrogate}/u.test(text))) throw new ValidationError('keys and values must not have lone surrogates');
  try {
    return encode();
  } catch (error) {
    throw new ValidationError((error as Error).message);
  }
}

function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw new ProtocolError({ code: 'PROTOCOL', message: (error as Error).message, maybeExecuted: false });
  }
}

/** A command that sets a key. */
export const set = (key: string, value: string): Buffer => encoding([key, value], () => native.storeSet(key, value));

/** A command that watches a key: its present value and every later one come as server requests. */
export const watch = (key: string): Buffer => encoding([key], () => native.storeWatch(key));

/** A query for a key's value. */
export const get = (key: string): Buffer => encoding([key], () => native.storeGet(key));

/** The value in the answer of {@link get}; undefined when the key has none. */
export const readValue = (answer: Uint8Array): string | undefined => decoding(() => native.storeValue(answer)) ?? undefined;

/** What a server request of the store tells. */
export function readNotification(payload: Uint8Array): Notification {
  const [key, value] = decoding(() => native.storeNotification(payload));
  return { key, value };
}
