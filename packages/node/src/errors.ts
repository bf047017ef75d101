/** The errors of the client. The native half writes their texts, which are the same in every language. */

import type { CorrelationId, MemberId, RequestId, SessionId } from './ids';
import type { RejectionReason } from './messages';

/** The stable names of the errors, the same in every language. */
export type ErrorCode =
  | 'TIMEOUT'
  | 'CANCELLED'
  | 'OVERLOADED'
  | 'NOT_CONNECTED'
  | 'CLOSED'
  | 'SESSION_EXPIRED'
  | 'SESSION_REJECTED'
  | 'CONNECTION'
  | 'RESPONSE_EVICTED'
  | 'QUARANTINED'
  | 'PROTOCOL'
  | 'VALIDATION';

/** @internal A failure as the native half reports it. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly maybeExecuted: boolean;
  readonly requestId?: string;
  readonly correlationId?: string;
  readonly sessionId?: string | null;
  readonly reason?: string;
  readonly endpoint?: string | null;
  readonly cause?: Cause;
}

/** @internal The cause of a failed connection as the native half reports it. */
export interface Cause {
  readonly code: ConnectionCauseCode;
  readonly message: string;
  readonly leaderId?: string;
}

/** The base class of all errors of this package. */
export abstract class RaftClientError extends Error {
  /** The stable name of the kind. */
  abstract readonly code: ErrorCode;
  /** True if a command may have run, or may still run. If false, it is safe to submit the request again. */
  readonly maybeExecuted: boolean;

  /** Only the client makes errors. */
  protected constructor(message: string, maybeExecuted: boolean, options?: ErrorOptions) {
    super(message, options);
    this.maybeExecuted = maybeExecuted;
  }

  /** The name of the class. */
  override get name(): string {
    return this.constructor.name;
  }

  /** @internal The form for logs. Ids are text, since JSON has no numbers of 64 bits; secrets are not enumerable. */
  toJSON(): Record<string, unknown> {
    const { name, code, message, maybeExecuted } = this;
    const rest = Object.entries(this).map(([key, value]: [string, unknown]) => [key, typeof value === 'bigint' ? value.toString() : value]);
    return { name, code, message, maybeExecuted, ...(Object.fromEntries(rest) as Record<string, unknown>) };
  }
}

/** The error of a request whose answer can still come. */
abstract class DetachableError extends RaftClientError {
  /** The command's id; undefined if it was not sent, and for queries. */
  readonly requestId: RequestId | undefined;
  /** The query's id; undefined if it was not sent, and for commands. */
  readonly correlationId: CorrelationId | undefined;
  readonly #resolution: (() => Promise<Buffer>) | undefined;

  /** @internal Only the client makes errors. */
  protected constructor(failure: Failure, resolution: (() => Promise<Buffer>) | undefined, options?: ErrorOptions) {
    super(failure.message, failure.maybeExecuted, options);
    this.requestId = failure.requestId === undefined ? undefined : (BigInt(failure.requestId) as RequestId);
    this.correlationId = failure.correlationId as CorrelationId | undefined;
    this.#resolution = resolution;
  }

  /**
   * Resolves with the answer if it still comes: the client tracks a command that was sent for `detachedTimeout`. Rejects if it does not
   * come, with this error itself if no command was sent.
   */
  resolution(): Promise<Buffer> {
    return this.#resolution === undefined ? Promise.reject(this) : this.#resolution();
  }
}

/** No answer came in time. */
export class TimeoutError extends DetachableError {
  readonly code = 'TIMEOUT';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure, resolution?: () => Promise<Buffer>) {
    super(failure, resolution);
  }
}

/** The caller cancelled the request or the call; `cause` is the signal's reason. */
export class CancelledError extends DetachableError {
  readonly code = 'CANCELLED';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure, cause: unknown, resolution?: () => Promise<Buffer>) {
    super(failure, resolution, { cause });
  }
}

/** The queue is full. Await `ready()` and submit again, or raise `maxQueued` or `maxQueuedBytes`. */
export class OverloadedError extends RaftClientError {
  readonly code = 'OVERLOADED';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
  }
}

/** There is no session and none is being opened: call connect() first. */
export class NotConnectedError extends RaftClientError {
  readonly code = 'NOT_CONNECTED';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
  }
}

/** The client was disconnected before the answer came. */
export class ClosedError extends RaftClientError {
  readonly code = 'CLOSED';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
  }
}

/** The server ended the session; connect() opens a new one. */
export class SessionExpiredError extends RaftClientError {
  readonly code = 'SESSION_EXPIRED';
  readonly #sessionId: SessionId | undefined;

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
    this.#sessionId = (failure.sessionId ?? undefined) as SessionId | undefined;
  }

  /** The session that expired. Not shown by `inspect` or `JSON.stringify`. */
  get sessionId(): SessionId | undefined {
    return this.#sessionId;
  }
}

/** The server refused the session, for a reason that does not pass. */
export class SessionRejectedError extends RaftClientError {
  readonly code = 'SESSION_REJECTED';
  /** The server's reason. */
  readonly reason: RejectionReason;

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
    this.reason = failure.reason as RejectionReason;
  }
}

/** The stable names of the causes of a connection error. */
export type ConnectionCauseCode =
  | 'refused'
  | 'unknownHost'
  | 'unreachable'
  | 'tls'
  | 'timedOut'
  | 'closedBeforeFirstMessage'
  | 'neverAnswered'
  | 'lost'
  | 'zmtp'
  | 'noLeader'
  | 'leaderNotConfigured'
  | 'sessionUnknown'
  | 'sessionClosed';

/** Why a member could not be used. */
export class ConnectionCause extends Error {
  /** The stable name of the kind. */
  readonly code: ConnectionCauseCode;
  /** With `leaderNotConfigured`: the id of the member that leads and is not among `clusterMembers`. */
  declare readonly leaderId?: MemberId;

  /** @internal Only the client makes errors. */
  constructor(cause: Cause) {
    super(cause.message);
    this.code = cause.code;
    if (cause.leaderId !== undefined) this.leaderId = cause.leaderId as MemberId;
    // It is made far from the event that caused it, so its stack says nothing.
    this.stack = `ConnectionCause: ${cause.message}`;
  }

  /** The name of the class. */
  override get name(): string {
    return 'ConnectionCause';
  }

  /** @internal Only the client makes errors. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, leaderId: this.leaderId };
  }
}

/** No session could be opened in time; `cause` says what went wrong at the endpoint tried last. */
export class ConnectionError extends RaftClientError {
  readonly code = 'CONNECTION';
  /** The endpoint tried last. With the cause `leaderNotConfigured`, the endpoint that named the leader. */
  readonly endpoint: string | undefined;
  declare readonly cause: ConnectionCause | undefined;

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted, failure.cause && { cause: new ConnectionCause(failure.cause) });
    this.endpoint = failure.endpoint ?? undefined;
  }
}

/** The server no longer has the answer, so the outcome of the command stays unknown. */
export class ResponseEvictedError extends RaftClientError {
  readonly code = 'RESPONSE_EVICTED';
  /** The command's id. */
  readonly requestId: RequestId;

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
    this.requestId = BigInt(failure.requestId ?? 0) as RequestId;
  }
}

/** The request was alone in flight when members failed, repeatedly. The client does not send it any more. */
export class QuarantinedError extends RaftClientError {
  readonly code = 'QUARANTINED';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure) {
    super(failure.message, failure.maybeExecuted);
  }
}

/** The answer came, and it cannot be decoded or is longer than `maxMessageSize`. */
export class ProtocolError extends RaftClientError {
  readonly code = 'PROTOCOL';

  /** @internal Only the client makes errors. */
  constructor(failure: Failure, options?: ErrorOptions) {
    super(failure.message, failure.maybeExecuted, options);
  }
}

/** A setting or an argument that cannot be accepted. Nothing was opened, queued or sent. */
export class ValidationError extends RaftClientError {
  readonly code = 'VALIDATION';

  /** @internal Only the client makes errors. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, false, options);
  }
}

/** @internal Returns the error of a failure. Call it where the stack shows who waits for the request. */
export function toError(failure: Failure, cause: unknown, resolution?: () => Promise<Buffer>): RaftClientError {
  switch (failure.code) {
    case 'TIMEOUT':
      return new TimeoutError(failure, resolution);
    case 'CANCELLED':
      return new CancelledError(failure, cause, resolution);
    case 'OVERLOADED':
      return new OverloadedError(failure);
    case 'NOT_CONNECTED':
      return new NotConnectedError(failure);
    case 'CLOSED':
      return new ClosedError(failure);
    case 'SESSION_EXPIRED':
      return new SessionExpiredError(failure);
    case 'SESSION_REJECTED':
      return new SessionRejectedError(failure);
    case 'CONNECTION':
      return new ConnectionError(failure);
    case 'RESPONSE_EVICTED':
      return new ResponseEvictedError(failure);
    case 'QUARANTINED':
      return new QuarantinedError(failure);
    case 'PROTOCOL':
      return new ProtocolError(failure);
    case 'VALIDATION':
      return new ValidationError(failure.message);
  }
}
