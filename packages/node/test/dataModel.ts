/**
 * Ids, messages, state names, events and constants have the types of the first data model. `npm run typecheck` compiles this
 * file; nothing runs it.
 */

import { expectTypeOf } from 'vitest';
import type * as zraft from 'zraft-client';

type Brand<T, B extends string> = T & { readonly __brand: B };

export function ids(): void {
  expectTypeOf<zraft.SessionId>().toEqualTypeOf<Brand<string, 'SessionId'>>();
  expectTypeOf<zraft.RequestId>().toEqualTypeOf<Brand<bigint, 'RequestId'>>();
  expectTypeOf<zraft.MemberId>().toEqualTypeOf<Brand<string, 'MemberId'>>();
  expectTypeOf<zraft.Nonce>().toEqualTypeOf<Brand<bigint, 'Nonce'>>();
  expectTypeOf<zraft.CorrelationId>().toEqualTypeOf<Brand<string, 'CorrelationId'>>();
}

export function idFunctions(): void {
  expectTypeOf<typeof zraft.SessionId>().toExtend<{ fromString(value: string): zraft.SessionId; unwrap(id: zraft.SessionId): string }>();
  expectTypeOf<typeof zraft.RequestId>().toExtend<{
    zero: zraft.RequestId;
    fromBigInt(value: bigint): zraft.RequestId;
    next(id: zraft.RequestId): zraft.RequestId;
    unwrap(id: zraft.RequestId): bigint;
  }>();
  expectTypeOf<typeof zraft.MemberId>().toExtend<{ fromString(value: string): zraft.MemberId; unwrap(id: zraft.MemberId): string }>();
  expectTypeOf<typeof zraft.Nonce>().toExtend<{
    generate(): zraft.Nonce;
    fromBigInt(value: bigint): zraft.Nonce;
    unwrap(nonce: zraft.Nonce): bigint;
  }>();
  expectTypeOf<typeof zraft.CorrelationId>().toExtend<{
    generate(): zraft.CorrelationId;
    fromString(value: string): zraft.CorrelationId;
    unwrap(id: zraft.CorrelationId): string;
  }>();
}

/** The fields of each message that clients send. */
interface FromClients {
  CreateSession: { capabilities: Map<string, string>; nonce: zraft.Nonce };
  ContinueSession: { sessionId: zraft.SessionId; nonce: zraft.Nonce };
  KeepAlive: { timestamp: Date };
  ClientRequest: { requestId: zraft.RequestId; lowestPendingRequestId: zraft.RequestId; payload: Buffer; createdAt: Date };
  Query: { correlationId: zraft.CorrelationId; payload: Buffer; createdAt: Date };
  ServerRequestAck: { requestId: zraft.RequestId };
  CloseSession: { reason: zraft.CloseReason };
  ConnectionClosed: unknown;
}

/** The fields of each message that servers send. */
interface FromServers {
  SessionCreated: { sessionId: zraft.SessionId; nonce: zraft.Nonce };
  SessionContinued: { nonce: zraft.Nonce };
  SessionRejected: { reason: zraft.RejectionReason; nonce: zraft.Nonce; leaderId?: zraft.MemberId };
  SessionClosed: { reason: zraft.SessionCloseReason; leaderId?: zraft.MemberId };
  KeepAliveResponse: { timestamp: Date };
  ClientResponse: { requestId: zraft.RequestId; result: Buffer };
  QueryResponse: { correlationId: zraft.CorrelationId; result: Buffer };
  ServerRequest: { requestId: zraft.RequestId; payload: Buffer; createdAt: Date };
  RequestError: { requestId: zraft.RequestId; reason: zraft.RequestErrorReason };
}

/** The union of these records, each with its name as `type`. */
type Union<M> = { [K in keyof M]: { readonly type: K } & Readonly<M[K]> }[keyof M];
/** One member of a union. */
type Of<U extends { type: string }, K> = Extract<U, { type: K }>;
/** The names whose types differ. */
type Different<U extends { type: string }, M> = {
  [K in keyof M]: Of<U, K> extends Of<Union<M> & { type: string }, K>
    ? Of<Union<M> & { type: string }, K> extends Of<U, K>
      ? never
      : K
    : K;
}[keyof M];

export function messages(): void {
  expectTypeOf<zraft.ClientMessage['type']>().toEqualTypeOf<keyof FromClients>();
  expectTypeOf<Different<zraft.ClientMessage, FromClients>>().toBeNever();
  expectTypeOf<zraft.ServerMessage['type']>().toEqualTypeOf<keyof FromServers>();
  expectTypeOf<Different<zraft.ServerMessage, FromServers>>().toBeNever();
}

export function reasons(): void {
  expectTypeOf<zraft.CloseReason>().toEqualTypeOf<'ClientShutdown'>();
  expectTypeOf<zraft.RejectionReason>().toEqualTypeOf<'NotLeader' | 'SessionExpired' | 'InvalidCapabilities' | 'Other'>();
  expectTypeOf<zraft.SessionCloseReason>().toEqualTypeOf<
    'Shutdown' | 'NotLeaderAnymore' | 'SessionError' | 'ConnectionClosed' | 'SessionExpired'
  >();
  expectTypeOf<zraft.RequestErrorReason>().toEqualTypeOf<'ResponseEvicted'>();
}

/** Each message by its own name. */
export function messageNames(): void {
  expectTypeOf<
    | zraft.CreateSession
    | zraft.ContinueSession
    | zraft.KeepAlive
    | zraft.ClientRequest
    | zraft.Query
    | zraft.ServerRequestAck
    | zraft.CloseSession
    | zraft.ConnectionClosed
  >().toEqualTypeOf<zraft.ClientMessage>();
  expectTypeOf<
    | zraft.SessionCreated
    | zraft.SessionContinued
    | zraft.SessionRejected
    | zraft.SessionClosed
    | zraft.KeepAliveResponse
    | zraft.ClientResponse
    | zraft.QueryResponse
    | zraft.ServerRequest
    | zraft.RequestError
  >().toEqualTypeOf<zraft.ServerMessage>();
}

/** The events of the first data model. An id is undefined if the request has none yet. */
export function events(): void {
  expectTypeOf<zraft.StateChangeEvent>().toExtend<{
    type: 'stateChange';
    oldState: zraft.ClientStateName;
    newState: zraft.ClientStateName;
  }>();
  expectTypeOf<zraft.ConnectionAttemptEvent>().toExtend<{ type: 'connectionAttempt'; memberId: zraft.MemberId; address: string }>();
  expectTypeOf<zraft.ConnectionSuccessEvent>().toExtend<{ type: 'connectionSuccess'; memberId: zraft.MemberId }>();
  expectTypeOf<zraft.ConnectionFailureEvent>().toExtend<{ type: 'connectionFailure'; memberId: zraft.MemberId; error: Error }>();
  expectTypeOf<zraft.MessageReceivedEvent>().toExtend<{ type: 'messageReceived'; message: zraft.ServerMessage }>();
  expectTypeOf<zraft.MessageSentEvent>().toExtend<{ type: 'messageSent'; message: zraft.ClientMessage }>();
  expectTypeOf<zraft.RequestTimeoutEvent>().toExtend<{ type: 'requestTimeout'; requestId?: zraft.RequestId }>();
  expectTypeOf<zraft.QueryTimeoutEvent>().toExtend<{ type: 'queryTimeout'; correlationId?: zraft.CorrelationId }>();
  expectTypeOf<zraft.SessionExpiredEvent>().toExtend<{ type: 'sessionExpired'; sessionId: zraft.SessionId }>();
  expectTypeOf<zraft.ServerRequestReceivedEvent>().toExtend<{ type: 'serverRequestReceived'; request: zraft.ServerRequest }>();
}

/** The events that were added later, and their fields. */
export function laterEvents(): void {
  expectTypeOf<zraft.ConnectedEvent>().toExtend<{
    type: 'connected';
    sessionId: zraft.SessionId;
    memberId: zraft.MemberId;
    endpoint: string;
    resumed: boolean;
  }>();
  expectTypeOf<zraft.DisconnectedEvent>().toExtend<{ type: 'disconnected'; reason: zraft.DisconnectReason; memberId?: zraft.MemberId }>();
  expectTypeOf<zraft.ReconnectingEvent>().toExtend<{ type: 'reconnecting'; attempt: number; memberId: zraft.MemberId; endpoint: string }>();
  expectTypeOf<zraft.SessionDoubtedEvent>().toExtend<{ type: 'sessionDoubted'; memberId: zraft.MemberId }>();
  expectTypeOf<zraft.HandlerErrorEvent>().toExtend<{ type: 'handlerError'; error: unknown; request: zraft.ServerRequest }>();
  expectTypeOf<zraft.ProtocolErrorEvent>().toExtend<{ type: 'protocolError'; memberId: zraft.MemberId; detail: string }>();
  expectTypeOf<zraft.RequestQuarantinedEvent>().toExtend<{
    type: 'requestQuarantined';
    requestId?: zraft.RequestId;
    correlationId?: zraft.CorrelationId;
  }>();
}

export function constants(): void {
  expectTypeOf<typeof zraft.PROTOCOL_SIGNATURE>().toEqualTypeOf<Buffer>();
  expectTypeOf<typeof zraft.PROTOCOL_VERSION>().toBeNumber();
  expectTypeOf<typeof zraft.ClientConfig>().toExtend<{
    DEFAULT_CONNECTION_TIMEOUT: number;
    DEFAULT_KEEP_ALIVE_INTERVAL: number;
    DEFAULT_REQUEST_TIMEOUT: number;
    validate(config: zraft.ClientConfig): void;
  }>();
}
