/** What a client tells of itself. */

import { type Cause, ConnectionCause } from './errors';
import type { CorrelationId, MemberId, RequestId, SessionId } from './ids';
import { type ClientMessage, type ServerMessage, type ServerRequest, toMessage } from './messages';
import { Masked } from './secrets';

/** The four states of a client. */
export type ClientStateName = 'Disconnected' | 'ConnectingNewSession' | 'ConnectingExistingSession' | 'Connected';

/** Why a session's connection ended. */
export type DisconnectReason =
  | 'connectionLost'
  | 'heartbeatTimeout'
  | 'keepAliveTimeout'
  | 'silent'
  | 'notLeader'
  | 'serverShutdown'
  | 'sessionError'
  | 'sessionExpired'
  | 'rejected'
  | 'closed';

/** The session has its connection. */
export interface ConnectedEvent {
  readonly type: 'connected';
  readonly sessionId: SessionId;
  readonly memberId: MemberId;
  readonly endpoint: string;
  /** The session existed before. When false, watches must be renewed. */
  readonly resumed: boolean;
}

/** The session lost its connection, or ended. */
export interface DisconnectedEvent {
  readonly type: 'disconnected';
  readonly reason: DisconnectReason;
  readonly memberId?: MemberId;
}

/** A connection for the session is being sought. */
export interface ReconnectingEvent {
  readonly type: 'reconnecting';
  /** 1, 2, 3, … since the connection was lost. */
  readonly attempt: number;
  readonly memberId: MemberId;
  readonly endpoint: string;
}

/** The session expired. */
export interface SessionExpiredEvent {
  readonly type: 'sessionExpired';
  readonly sessionId: SessionId;
}

/** The state changed. */
export interface StateChangeEvent {
  readonly type: 'stateChange';
  readonly oldState: ClientStateName;
  readonly newState: ClientStateName;
}

/** A connection to a member is being opened. */
export interface ConnectionAttemptEvent {
  readonly type: 'connectionAttempt';
  readonly memberId: MemberId;
  readonly address: string;
}

/** A connection to a member is open, and the handshake of the transport done. */
export interface ConnectionSuccessEvent {
  readonly type: 'connectionSuccess';
  readonly memberId: MemberId;
}

/** An attempt at a member ended without a session. */
export interface ConnectionFailureEvent {
  readonly type: 'connectionFailure';
  readonly memberId: MemberId;
  readonly error: ConnectionCause;
}

/** A message arrived. Made only while somebody listens. */
export interface MessageReceivedEvent {
  readonly type: 'messageReceived';
  readonly message: ServerMessage;
}

/** A message was written. Made only while somebody listens. */
export interface MessageSentEvent {
  readonly type: 'messageSent';
  readonly message: ClientMessage;
}

/** A command's deadline passed. */
export interface RequestTimeoutEvent {
  readonly type: 'requestTimeout';
  /** Undefined when it had not been sent. */
  readonly requestId?: RequestId;
}

/** A query's deadline passed. */
export interface QueryTimeoutEvent {
  readonly type: 'queryTimeout';
  /** Undefined when it had not been sent. */
  readonly correlationId?: CorrelationId;
}

/** A server request arrived for the first time. */
export interface ServerRequestReceivedEvent {
  readonly type: 'serverRequestReceived';
  readonly request: ServerRequest;
}

/** A handler of server requests threw, or its promise was rejected. */
export interface HandlerErrorEvent {
  readonly type: 'handlerError';
  readonly error: unknown;
  readonly request: ServerRequest;
}

/** Something undecodable or too long arrived, and was skipped. */
export interface ProtocolErrorEvent {
  readonly type: 'protocolError';
  readonly memberId: MemberId;
  readonly detail: string;
}

/** A request was given up because members failed on it. */
export interface RequestQuarantinedEvent {
  readonly type: 'requestQuarantined';
  readonly requestId?: RequestId;
  readonly correlationId?: CorrelationId;
}

/** This many events were lost, because more happened at once than are kept. */
export interface LaggedEvent {
  readonly type: 'lagged';
  readonly count: number;
}

/** Every event. */
export type ClientEvent =
  | ConnectedEvent
  | DisconnectedEvent
  | ReconnectingEvent
  | SessionExpiredEvent
  | StateChangeEvent
  | ConnectionAttemptEvent
  | ConnectionSuccessEvent
  | ConnectionFailureEvent
  | MessageReceivedEvent
  | MessageSentEvent
  | RequestTimeoutEvent
  | QueryTimeoutEvent
  | ServerRequestReceivedEvent
  | HandlerErrorEvent
  | ProtocolErrorEvent
  | RequestQuarantinedEvent
  | LaggedEvent;

/** Events by their names. */
export type ClientEventMap = { [E in ClientEvent as E['type']]: E };

/** The names of the events. */
export const ClientEvents = {
  CONNECTED: 'connected',
  DISCONNECTED: 'disconnected',
  RECONNECTING: 'reconnecting',
  SESSION_EXPIRED: 'sessionExpired',
  STATE_CHANGE: 'stateChange',
  CONNECTION_ATTEMPT: 'connectionAttempt',
  CONNECTION_SUCCESS: 'connectionSuccess',
  CONNECTION_FAILURE: 'connectionFailure',
  MESSAGE_RECEIVED: 'messageReceived',
  MESSAGE_SENT: 'messageSent',
  REQUEST_TIMEOUT: 'requestTimeout',
  QUERY_TIMEOUT: 'queryTimeout',
  SERVER_REQUEST_RECEIVED: 'serverRequestReceived',
  HANDLER_ERROR: 'handlerError',
  PROTOCOL_ERROR: 'protocolError',
  REQUEST_QUARANTINED: 'requestQuarantined',
  LAGGED: 'lagged',
} as const satisfies Record<string, ClientEvent['type']>;

/** @internal An event from its JSON, and the bytes beside it. */
export function toEvent(text: string, payload: Buffer): ClientEvent {
  const fields = JSON.parse(text) as Record<string, unknown>;
  const event = Object.create(Masked.prototype) as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) {
    if (value === null) continue;
    switch (name) {
      case 'sessionId':
        Masked.add(event, value as string);
        break;
      case 'requestId':
        event[name] = BigInt(value as string);
        break;
      case 'error':
        event[name] = new ConnectionCause(value as Cause);
        break;
      case 'message':
      case 'request':
        event[name] = toMessage(value as Record<string, unknown>, payload);
        break;
      default:
        event[name] = value;
    }
  }
  return event as unknown as ClientEvent;
}
