/** The messages of the protocol, as events show them. */

import type { CorrelationId, MemberId, Nonce, RequestId, SessionId } from './ids';
import { Masked, SecretMap } from './secrets';

/** What clients send. */
export type ClientMessage =
  CreateSession | ContinueSession | KeepAlive | ClientRequest | Query | ServerRequestAck | CloseSession | ConnectionClosed;

/** Opens a durable session. */
export interface CreateSession {
  readonly type: 'CreateSession';
  readonly capabilities: Map<string, string>;
  readonly nonce: Nonce;
}

/** Binds an existing session to this connection. */
export interface ContinueSession {
  readonly type: 'ContinueSession';
  readonly sessionId: SessionId;
  readonly nonce: Nonce;
}

/** Keeps the session alive. */
export interface KeepAlive {
  readonly type: 'KeepAlive';
  readonly timestamp: Date;
}

/** A command. */
export interface ClientRequest {
  readonly type: 'ClientRequest';
  readonly requestId: RequestId;
  readonly lowestPendingRequestId: RequestId;
  readonly payload: Buffer;
  readonly createdAt: Date;
}

/** A query. */
export interface Query {
  readonly type: 'Query';
  readonly correlationId: CorrelationId;
  readonly payload: Buffer;
  readonly createdAt: Date;
}

/** Acknowledges server requests, up to this one. */
export interface ServerRequestAck {
  readonly type: 'ServerRequestAck';
  readonly requestId: RequestId;
}

/** Ends the session. */
export interface CloseSession {
  readonly type: 'CloseSession';
  readonly reason: CloseReason;
}

/** Made up by a server's socket when a peer goes; never sent by this client. */
export interface ConnectionClosed {
  readonly type: 'ConnectionClosed';
}

/** Why a client ends its session. */
export type CloseReason = 'ClientShutdown';

/** What servers send. */
export type ServerMessage =
  | SessionCreated
  | SessionContinued
  | SessionRejected
  | SessionClosed
  | KeepAliveResponse
  | ClientResponse
  | QueryResponse
  | ServerRequest
  | RequestError;

/** The session is open. */
export interface SessionCreated {
  readonly type: 'SessionCreated';
  readonly sessionId: SessionId;
  readonly nonce: Nonce;
}

/** The session is bound to this connection. */
export interface SessionContinued {
  readonly type: 'SessionContinued';
  readonly nonce: Nonce;
}

/** The session is not opened or continued. */
export interface SessionRejected {
  readonly type: 'SessionRejected';
  readonly reason: RejectionReason;
  readonly nonce: Nonce;
  readonly leaderId?: MemberId;
}

/** The session's connection, or the session, ends. */
export interface SessionClosed {
  readonly type: 'SessionClosed';
  readonly reason: SessionCloseReason;
  readonly leaderId?: MemberId;
}

/** Answers a KeepAlive. */
export interface KeepAliveResponse {
  readonly type: 'KeepAliveResponse';
  readonly timestamp: Date;
}

/** Answers a command. */
export interface ClientResponse {
  readonly type: 'ClientResponse';
  readonly requestId: RequestId;
  readonly result: Buffer;
}

/** Answers a query. */
export interface QueryResponse {
  readonly type: 'QueryResponse';
  readonly correlationId: CorrelationId;
  readonly result: Buffer;
}

/** What the server asks of the application. */
export interface ServerRequest {
  readonly type: 'ServerRequest';
  /** Its number within the session: 1, 2, 3, … */
  readonly requestId: RequestId;
  /** What is asked, in the application's own form. */
  readonly payload: Buffer;
  /** The server's clock when it sent this copy; another delivery has another time. */
  readonly createdAt: Date;
}

/** A command has no answer. */
export interface RequestError {
  readonly type: 'RequestError';
  readonly requestId: RequestId;
  readonly reason: RequestErrorReason;
}

/** Why a server refuses a session. */
export type RejectionReason = 'NotLeader' | 'SessionExpired' | 'InvalidCapabilities' | 'Other';

/** Why a server ends a session's connection. */
export type SessionCloseReason = 'Shutdown' | 'NotLeaderAnymore' | 'SessionError' | 'ConnectionClosed' | 'SessionExpired';

/** Why a command has no answer. */
export type RequestErrorReason = 'ResponseEvicted';

/** Fields that are text in JSON and numbers of 64 bits to the user. */
const NUMBERS = new Set(['requestId', 'lowestPendingRequestId', 'nonce']);
const TIMES = new Set(['timestamp', 'createdAt']);
/** The field that carries the payload, by the kind of message. */
const PAYLOADS: Readonly<Record<string, string>> = {
  ClientRequest: 'payload',
  Query: 'payload',
  ServerRequest: 'payload',
  ClientResponse: 'result',
  QueryResponse: 'result',
};

/** @internal A message from its JSON, and the bytes beside it. */
export function toMessage(fields: Readonly<Record<string, unknown>>, payload: Buffer): ClientMessage | ServerMessage {
  const message: Record<string, unknown> = Object.create(Masked.prototype) as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'sessionId') Masked.add(message, value as string);
    else if (value === null) continue;
    else if (NUMBERS.has(name)) message[name] = BigInt(value as string);
    else if (TIMES.has(name)) message[name] = new Date(value as number);
    else if (name === 'capabilities') message[name] = new SecretMap(value as [string, string][]);
    else message[name] = value;
  }
  const field = PAYLOADS[message['type'] as string];
  if (field !== undefined) message[field] = payload;
  return message as unknown as ClientMessage | ServerMessage;
}
