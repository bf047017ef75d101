/** The ids of the protocol, as distinct types. */

import { randomUUID } from 'node:crypto';

/** The greatest request id: on the wire it is a signed integer of 64 bits. */
const MAX_REQUEST_ID = (1n << 63n) - 1n;

/** The name of a session. A bearer secret: it is enough to continue the session. */
export type SessionId = string & { readonly __brand: 'SessionId' };
/** Conversions of session ids. */
export const SessionId = {
  /** Returns the session id with this text. Throws `TypeError` if the text is empty. */
  fromString(value: string): SessionId {
    if (!value) throw new TypeError('SessionId cannot be empty');
    return value as SessionId;
  },
  /** Returns the plain value. */
  unwrap: (id: SessionId): string => id,
};

/** The number of a command, or of a server request, within its session: 1, 2, 3, … */
export type RequestId = bigint & { readonly __brand: 'RequestId' };
/** Conversions of request ids. */
export const RequestId = {
  /** The value before the first request id, which is 1. */
  zero: 0n as RequestId,
  /** Returns the request id with this number. Throws `RangeError` if the number is negative or has more than 63 bits. */
  fromBigInt(value: bigint): RequestId {
    if (value < 0n || value > MAX_REQUEST_ID) {
      throw new RangeError(`RequestId must be from 0 to ${MAX_REQUEST_ID}`);
    }
    return value as RequestId;
  },
  /** Returns the next id. */
  next: (id: RequestId): RequestId => RequestId.fromBigInt(id + 1n),
  /** Returns the plain value. */
  unwrap: (id: RequestId): bigint => id,
};

/** The name of a member of the cluster. */
export type MemberId = string & { readonly __brand: 'MemberId' };
/** Conversions of member ids. */
export const MemberId = {
  /** Returns the member id with this text. */
  fromString: (value: string): MemberId => value as MemberId,
  /** Returns the plain value. */
  unwrap: (id: MemberId): string => id,
};

/** The random number that ties the answer of a session message to its request. Not zero. */
export type Nonce = bigint & { readonly __brand: 'Nonce' };
/** Conversions of nonces. */
export const Nonce = {
  /** Returns a random nonce. */
  generate: (): Nonce => BigInt(1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1))) as Nonce,
  /** Returns the nonce with this number. Throws `RangeError` if the number is zero. */
  fromBigInt(value: bigint): Nonce {
    if (value === 0n) throw new RangeError('Nonce cannot be zero');
    return value as Nonce;
  },
  /** Returns the plain value. */
  unwrap: (nonce: Nonce): bigint => nonce,
};

/** The text that ties the answer of a query to the query. */
export type CorrelationId = string & { readonly __brand: 'CorrelationId' };
/** Conversions of correlation ids. */
export const CorrelationId = {
  /** Returns a random correlation id. */
  generate: (): CorrelationId => randomUUID() as string as CorrelationId,
  /** Returns the correlation id with this text. Throws `TypeError` if the text is empty. */
  fromString(value: string): CorrelationId {
    if (!value) throw new TypeError('CorrelationId cannot be empty');
    return value as CorrelationId;
  },
  /** Returns the plain value. */
  unwrap: (id: CorrelationId): string => id,
};
