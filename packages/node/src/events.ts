/** The events of a client. */

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

/** The session is open on a connection. */
export interface ConnectedEvent {
  readonly type: 'connected';
  readonly sessionId: SessionId;
  readonly memberId: MemberId;
  readonly endpoint: string;
  /** True if the session existed before. If false, the application must renew its watches. */
  readonly resumed: boolean;
}

/** The session lost its connection or ended. */
export interface DisconnectedEvent {
  readonly type: 'disconnected';
  readonly reason: DisconnectReason;
  readonly memberId?: MemberId;
}

/** The client tries to connect the session to a member. */
export interface ReconnectingEvent {
  readonly type: 'reconnecting';
  /** 1, 2, 3, … since the connection was lost. */
  readonly attempt: number;
  readonly memberId: MemberId;
  readonly endpoint: string;
}

/**
 * A member denies that the session exists, which may be false. The client asks the other members, ever less often, until one
 * continues the session or the expiry is certain. Once per loss of the connection.
 */
export interface SessionDoubtedEvent {
  readonly type: 'sessionDoubted';
  readonly memberId: MemberId;
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

/** The client opens a connection to a member. */
export interface ConnectionAttemptEvent {
  readonly type: 'connectionAttempt';
  readonly memberId: MemberId;
  readonly address: string;
}

/** A connection to a member is open and its ZMTP handshake is complete. */
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

/** A message arrived. Emitted only while there is a listener, since it costs time for every message. */
export interface MessageReceivedEvent {
  readonly type: 'messageReceived';
  readonly message: ServerMessage;
}

/** A message was sent. Emitted only while there is a listener, since it costs time for every message. */
export interface MessageSentEvent {
  readonly type: 'messageSent';
  readonly message: ClientMessage;
}

/** A command's deadline passed. */
export interface RequestTimeoutEvent {
  readonly type: 'requestTimeout';
  /** Undefined if the command was not sent. */
  readonly requestId?: RequestId;
}

/** A query's deadline passed. */
export interface QueryTimeoutEvent {
  readonly type: 'queryTimeout';
  /** Undefined if the query was not sent. */
  readonly correlationId?: CorrelationId;
}

/** A server request arrived for the first time. */
export interface ServerRequestReceivedEvent {
  readonly type: 'serverRequestReceived';
  readonly request: ServerRequest;
}

/** A handler of server requests threw or returned a promise that was rejected. */
export interface HandlerErrorEvent {
  readonly type: 'handlerError';
  readonly error: unknown;
  readonly request: ServerRequest;
}

/** A message that cannot be decoded, or a frame that is too long, arrived and was skipped. */
export interface ProtocolErrorEvent {
  readonly type: 'protocolError';
  readonly memberId: MemberId;
  readonly detail: string;
}

/** The client gave up a request because members failed on it. */
export interface RequestQuarantinedEvent {
  readonly type: 'requestQuarantined';
  readonly requestId?: RequestId;
  readonly correlationId?: CorrelationId;
}

/** This many events were dropped because the event loop was blocked and the queue of events was full. */
export interface LaggedEvent {
  readonly type: 'lagged';
  readonly count: number;
}

/** Any event of a client. */
export type ClientEvent =
  | ConnectedEvent
  | DisconnectedEvent
  | ReconnectingEvent
  | SessionDoubtedEvent
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

/** The events by name. */
export type ClientEventMap = { [E in ClientEvent as E['type']]: E };

/** The names of the events. */
export const ClientEvents = {
  CONNECTED: 'connected',
  DISCONNECTED: 'disconnected',
  RECONNECTING: 'reconnecting',
  SESSION_DOUBTED: 'sessionDoubted',
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

/** @internal Makes an event from its JSON and the payload of its message. */
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
