/**
 * Payloads as callers give them. What an object says of itself is not believed: a Proxy is not a Uint8Array, and a
 * subclass can override `length`. The engine's own getters, taken when this module is loaded, tell the truth.
 */

import { types } from 'node:util';

const { isSharedArrayBuffer, isUint8Array } = types;

const properties = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array);

/** A getter as a function of its object. */
const own = ({ get }: { readonly get?: (this: void) => unknown }): unknown => Function.prototype.call.bind(get as () => unknown);

const bufferOf = own(properties.buffer) as (payload: Uint8Array) => ArrayBufferLike;
const offsetOf = own(properties.byteOffset) as (payload: Uint8Array) => number;

/** @internal Whether a value is a Uint8Array, of this realm or another. A Proxy of one is not. */
export const isPayload: (value: unknown) => value is Uint8Array = isUint8Array;

/** @internal The length in bytes, now: that of a resizable buffer's view may change, and that of a detached one is 0. */
export const lengthOf: (payload: Uint8Array) => number = own(properties.length) as (payload: Uint8Array) => number;

/** @internal The payload's first bytes as a plain array of a fixed length. Other threads do not write to it. */
export function plain(payload: Uint8Array, length: number): Uint8Array {
  const buffer = bufferOf(payload);
  const view = new Uint8Array(buffer, offsetOf(payload), length);
  if (!isSharedArrayBuffer(buffer)) return view;
  const copy = Buffer.allocUnsafeSlow(length);
  copy.set(view);
  return copy;
}
