/** The ids of the protocol, as types that cannot be taken for each other. */

import { randomUUID } from 'node:crypto';

/** A request id is at most this: it is a signed number of 64 bits on the wire. */
const MAX_REQUEST_ID = (1n << 63n) - 1n;

/** Names a session. A bearer secret: whoever knows it can continue the session. */
export type SessionId = string & { readonly __brand: 'SessionId' };
export const SessionId = {
  fromString(value: string): SessionId {
    if (!value) throw new TypeError('SessionId cannot be empty');
    return value as SessionId;
  },
  unwrap: (id: SessionId): string => id,
};

/** Numbers the commands of a session, and its server requests: 1, 2, 3, … */
export type RequestId = bigint & { readonly __brand: 'RequestId' };
export const RequestId = {
  zero: 0n as RequestId,
  fromBigInt(value: bigint): RequestId {
    if (value < 0n || value > MAX_REQUEST_ID) {
      throw new RangeError(`RequestId must be from 0 to ${MAX_REQUEST_ID}`);
    }
    return value as RequestId;
  },
  next: (id: RequestId): RequestId => RequestId.fromBigInt(id + 1n),
  unwrap: (id: RequestId): bigint => id,
};

/** Names a member of the cluster. */
export type MemberId = string & { readonly __brand: 'MemberId' };
export const MemberId = {
  fromString: (value: string): MemberId => value as MemberId,
  unwrap: (id: MemberId): string => id,
};

/** Matches the answer of a handshake to its question. Not zero. */
export type Nonce = bigint & { readonly __brand: 'Nonce' };
export const Nonce = {
  generate: (): Nonce => BigInt(1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1))) as Nonce,
  fromBigInt(value: bigint): Nonce {
    if (value === 0n) throw new RangeError('Nonce cannot be zero');
    return value as Nonce;
  },
  unwrap: (nonce: Nonce): bigint => nonce,
};

/** Matches the answer of a query to its question. */
export type CorrelationId = string & { readonly __brand: 'CorrelationId' };
export const CorrelationId = {
  generate: (): CorrelationId => randomUUID() as string as CorrelationId,
  fromString(value: string): CorrelationId {
    if (!value) throw new TypeError('CorrelationId cannot be empty');
    return value as CorrelationId;
  },
  unwrap: (id: CorrelationId): string => id,
};
