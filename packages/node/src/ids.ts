/** The ids of the protocol, as types that cannot be taken for each other. */

import { randomUUID } from 'node:crypto';

/** A request id is at most this: it is a signed number of 64 bits on the wire. */
const MAX_REQUEST_ID = (1n << 63n) - 1n;

/** Names a session. A bearer secret: whoever knows it can continue the session. */
export type SessionId = string & { readonly __brand: 'SessionId' };
/** Makes and unwraps session ids. */
export const SessionId = {
  /** A session id from its text. Throws TypeError when that is empty. */
  fromString(value: string): SessionId {
    if (!value) throw new TypeError('SessionId cannot be empty');
    return value as SessionId;
  },
  /** The plain value. */
  unwrap: (id: SessionId): string => id,
};

/** Numbers the commands of a session, and its server requests: 1, 2, 3, … */
export type RequestId = bigint & { readonly __brand: 'RequestId' };
/** Makes and unwraps request ids. */
export const RequestId = {
  /** None yet: the first is 1. */
  zero: 0n as RequestId,
  /** A request id from its number. Throws RangeError when that is negative or has more than 63 bits. */
  fromBigInt(value: bigint): RequestId {
    if (value < 0n || value > MAX_REQUEST_ID) {
      throw new RangeError(`RequestId must be from 0 to ${MAX_REQUEST_ID}`);
    }
    return value as RequestId;
  },
  /** The id after this one. */
  next: (id: RequestId): RequestId => RequestId.fromBigInt(id + 1n),
  /** The plain value. */
  unwrap: (id: RequestId): bigint => id,
};

/** Names a member of the cluster. */
export type MemberId = string & { readonly __brand: 'MemberId' };
/** Makes and unwraps member ids. */
export const MemberId = {
  /** A member id from its text. */
  fromString: (value: string): MemberId => value as MemberId,
  /** The plain value. */
  unwrap: (id: MemberId): string => id,
};

/** Matches the answer of a handshake to its question. Not zero. */
export type Nonce = bigint & { readonly __brand: 'Nonce' };
/** Makes and unwraps nonces. */
export const Nonce = {
  /** A random one. */
  generate: (): Nonce => BigInt(1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1))) as Nonce,
  /** A nonce from its number. Throws RangeError when that is zero. */
  fromBigInt(value: bigint): Nonce {
    if (value === 0n) throw new RangeError('Nonce cannot be zero');
    return value as Nonce;
  },
  /** The plain value. */
  unwrap: (nonce: Nonce): bigint => nonce,
};

/** Matches the answer of a query to its question. */
export type CorrelationId = string & { readonly __brand: 'CorrelationId' };
/** Makes and unwraps correlation ids. */
export const CorrelationId = {
  /** A random one. */
  generate: (): CorrelationId => randomUUID() as string as CorrelationId,
  /** A correlation id from its text. Throws TypeError when that is empty. */
  fromString(value: string): CorrelationId {
    if (!value) throw new TypeError('CorrelationId cannot be empty');
    return value as CorrelationId;
  },
  /** The plain value. */
  unwrap: (id: CorrelationId): string => id,
};
