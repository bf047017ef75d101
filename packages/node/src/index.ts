/**
 * A client for ZIO Raft clusters.
 *
 * @packageDocumentation
 */

export { RaftClient } from './client';
export { type Codec, type Decoder, type Encoder, json, type PayloadCodec } from './codec';
export { ClientConfig, type ReconnectBackoff } from './config';
export type { LivenessQuery } from './livenessQuery';
export type { MemberResolver } from './lookup';
export type { TlsSettings } from './tls';
export * from './constants';
export {
  CancelledError,
  ClosedError,
  ConnectionCause,
  type ConnectionCauseCode,
  ConnectionError,
  type ErrorCode,
  NotConnectedError,
  OverloadedError,
  ProtocolError,
  QuarantinedError,
  RaftClientError,
  ResponseEvictedError,
  SessionExpiredError,
  SessionRejectedError,
  TimeoutError,
  ValidationError,
} from './errors';
export {
  type ClientEvent,
  type ClientEventMap,
  ClientEvents,
  type ClientStateName,
  type ConnectedEvent,
  type ConnectionAttemptEvent,
  type ConnectionFailureEvent,
  type ConnectionSuccessEvent,
  type DisconnectedEvent,
  type DisconnectReason,
  type HandlerErrorEvent,
  type LaggedEvent,
  type MessageReceivedEvent,
  type MessageSentEvent,
  type ProtocolErrorEvent,
  type QueryTimeoutEvent,
  type ReconnectingEvent,
  type RequestQuarantinedEvent,
  type RequestTimeoutEvent,
  type ServerRequestReceivedEvent,
  type SessionDoubtedEvent,
  type SessionExpiredEvent,
  type StateChangeEvent,
} from './events';
export { CorrelationId, MemberId, Nonce, RequestId, SessionId } from './ids';
export { ClientMessageType, ServerMessageType } from './messages';
export type {
  ClientMessage,
  ClientRequest,
  CloseReason,
  CloseSession,
  ConnectionClosed,
  ContinueSession,
  CreateSession,
  KeepAlive,
  KeepAliveResponse,
  ClientResponse,
  Query,
  QueryResponse,
  RejectionReason,
  RequestError,
  RequestErrorReason,
  ServerMessage,
  ServerRequest,
  ServerRequestAck,
  SessionClosed,
  SessionCloseReason,
  SessionContinued,
  SessionCreated,
  SessionRejected,
} from './messages';
export { type CommandOutcome, CommandOutcomes } from './outcomes';
export type { ConnectOptions, DisconnectOptions, RequestOptions } from './options';
export type { IncomingServerRequest, ServerRequestHandler } from './serverRequests';
export type { Latency, Stats } from './stats';
export type { TracedCall } from './tracing';
export {
  type AnswerOf,
  type AnyCodec,
  type CommandOf,
  type NoticeOf,
  type QueryOf,
  type ResultOf,
  TypedClient,
  type TypedServerRequest,
  type Untyped,
} from './typed';
