/** How promises of the client are rejected. */

import { type Failure, type RaftClientError, toError } from './errors';
import { facts } from './native';

/** Why a promise is rejected. The error is made later, where its stack shows the code that awaits the promise. */
export class Rejection {
  constructor(
    readonly failure: Failure,
    readonly cause?: unknown,
    readonly resolution?: () => Promise<Buffer>,
  ) {}

  toError(): RaftClientError {
    return toError(this.failure, this.cause, this.resolution);
  }
}

/** Throws the error of a rejection: the second argument of `then`. */
export function raise(rejection: Rejection): never {
  const error = rejection.toError();
  Error.captureStackTrace(error, raise);
  throw error;
}

/** Rejects without asking the native half, in the native half's words. */
function rejected<T>(failure: Failure, cause?: unknown): Promise<T> {
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- raise() turns it into an error
  return Promise.reject<T>(new Rejection(failure, cause)).then(undefined, raise);
}

const { texts } = facts;

/** Rejects a call whose signal has aborted before it began. */
export function cancelled<T>(signal: AbortSignal): Promise<T> {
  return rejected({ code: 'CANCELLED', message: texts.cancelled, maybeExecuted: false }, signal.reason);
}

/** Rejects a request for which there is no room. */
export function overloaded<T>(): Promise<T> {
  return rejected({ code: 'OVERLOADED', message: texts.overloaded, maybeExecuted: false });
}
