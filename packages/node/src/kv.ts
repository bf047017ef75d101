/**
 * The payloads of ZIO Raft's key-value store.
 *
 * @packageDocumentation
 */

import type { Codec } from './codec';
import { ProtocolError, ValidationError } from './errors';
import { native } from './native';

/** A notification that a watched key has this value. */
export interface Notification {
  readonly key: string;
  readonly value: string;
}

function encoding<T>(texts: readonly string[], encode: () => T): T {
  // The encoding would replace a lone surrogate by another character.
  if (texts.some((text) => /\p{Surrogate}/u.test(text))) throw new ValidationError('keys and values must not contain lone surrogates');
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

/** Returns the payload of a command that sets a key. Throws a `ValidationError` if the store cannot take key or value. */
export const set = (key: string, value: string): Buffer => encoding([key, value], () => native.storeSet(key, value));

/** Returns the payload of a command that watches a key. Its present value and every later one arrive as server requests. */
export const watch = (key: string): Buffer => encoding([key], () => native.storeWatch(key));

/** Returns the payload of a query for a key's value. */
export const get = (key: string): Buffer => encoding([key], () => native.storeGet(key));

/** Returns the value in the answer to {@link get}, or undefined if the key has none. Throws a `ProtocolError` for other bytes. */
export const readValue = (answer: Uint8Array): string | undefined => decoding(() => native.storeValue(answer)) ?? undefined;

/** Decodes the payload of a server request of the store. Throws a `ProtocolError` for other bytes. */
export function readNotification(payload: Uint8Array): Notification {
  const [key, value] = decoding(() => native.storeNotification(payload));
  return { key, value };
}

/** A command of the store. */
export type StoreCommand = { readonly set: string; readonly value: string } | { readonly watch: string };

/** A query of the store. */
export interface StoreQuery {
  readonly get: string;
}

/** The codec of the store for a `TypedClient`. A query's result is the value of its key, or undefined if the key has none. */
export const storeCodec: Codec<StoreCommand, undefined, StoreQuery, string | undefined, Notification> = {
  command: { encode: (command) => ('set' in command ? set(command.set, command.value) : watch(command.watch)) },
  answer: { decode: () => undefined },
  query: { encode: (query) => get(query.get) },
  result: { decode: readValue },
  livenessQuery: { get: 'zraft.liveness' },
  serverRequest: { decode: readNotification },
};
