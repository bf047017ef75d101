/** The messages of the protocol as events show them, and their numbers on the wire. */

import type { CorrelationId, MemberId, Nonce, RequestId, SessionId } from './ids';
import { Masked, SecretMap } from './secrets';

/** Discriminators of the messages that clients send. */
export enum ClientMessageType {
  CreateSession = 1,
  ContinueSession = 2,
  KeepAlive = 3,
  ClientRequest = 4,
  ServerRequestAck = 5,
  CloseSession = 6,
  ConnectionClosed = 7,
  Query = 8,
}

/** Discriminators of the messages that servers send. */
export enum ServerMessageType {
  SessionCreated = 1,
  SessionContinued = 2,
  SessionRejected = 3,
  SessionClosed = 4,
  KeepAliveResponse = 5,
  ClientResponse = 6,
  ServerRequest = 7,
  RequestError = 8,
  QueryResponse = 9,
}

/** A message that clients send. */
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

/** Extends the session and shows that the member reads. */
export interface KeepAlive {
  readonly type: 'KeepAlive';
  readonly timestamp: Date;
}

/** Carries a command. */
export interface ClientRequest {
  readonly type: 'ClientRequest';
  readonly requestId: RequestId;
  readonly lowestPendingRequestId: RequestId;
  readonly payload: Buffer;
  readonly createdAt: Date;
}

/** Carries a query. */
export interface Query {
  readonly type: 'Query';
  readonly correlationId: CorrelationId;
  readonly payload: Buffer;
  readonly createdAt: Date;
}

/** Acknowledges all server requests up to this id. */
export interface ServerRequestAck {
  readonly type: 'ServerRequestAck';
  readonly requestId: RequestId;
}

/** Ends the session. */
export interface CloseSession {
  readonly type: 'CloseSession';
  readonly reason: CloseReason;
}

/** A server's socket makes this message when a connection ends. This client never sends it. */
export interface ConnectionClosed {
  readonly type: 'ConnectionClosed';
}

/** Why a client closes its session. */
export type CloseReason = 'ClientShutdown';

/** A message that servers send. */
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

/** Answers CreateSession: the session is open. */
export interface SessionCreated {
  readonly type: 'SessionCreated';
  readonly sessionId: SessionId;
  readonly nonce: Nonce;
}

/** Answers ContinueSession: the session is bound to this connection. */
export interface SessionContinued {
  readonly type: 'SessionContinued';
  readonly nonce: Nonce;
}

/** Answers CreateSession or ContinueSession: the member refuses. */
export interface SessionRejected {
  readonly type: 'SessionRejected';
  readonly reason: RejectionReason;
  readonly nonce: Nonce;
  readonly leaderId?: MemberId;
}

/** The member ends the session's connection or the session itself. */
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

/** A request of the server to the application, such as a watch notification. */
export interface ServerRequest {
  readonly type: 'ServerRequest';
  /** Its number within the session: 1, 2, 3, … */
  readonly requestId: RequestId;
  /** The application's bytes. */
  readonly payload: Buffer;
  /** The server's clock when it sent this copy. Each copy has its own time. */
  readonly createdAt: Date;
}

/** Answers a command that has no answer any more. */
export interface RequestError {
  readonly type: 'RequestError';
  readonly requestId: RequestId;
  readonly reason: RequestErrorReason;
}

/** Why a server rejects a session. */
export type RejectionReason = 'NotLeader' | 'SessionExpired' | 'InvalidCapabilities' | 'Other';

/** Why a server closes a session's connection. */
export type SessionCloseReason = 'Shutdown' | 'NotLeaderAnymore' | 'SessionError' | 'ConnectionClosed' | 'SessionExpired';

/** Why a command has no answer. */
export type RequestErrorReason = 'ResponseEvicted';

/** Fields that are text in JSON, which has no integers of 64 bits, and a bigint for the application. */
const NUMBERS = new Set(['requestId', 'lowestPendingRequestId', 'nonce']);
const TIMES = new Set(['timestamp', 'createdAt']);
/** The name of the field that has the payload, by the kind of message. */
const PAYLOADS: Readonly<Record<string, string>> = {
  ClientRequest: 'payload',
  Query: 'payload',
  ServerRequest: 'payload',
  ClientResponse: 'result',
  QueryResponse: 'result',
};

/** @internal Makes a message from its JSON and its payload. */
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
