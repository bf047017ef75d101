/** Applications in JavaScript, which the embedded cluster runs. */

import { inspect, types } from 'node:util';

import { ValidationError } from './errors';
import type { RequestId, SessionId } from './ids';
import { isPayload } from './payloads';
import { deterministic } from './determinism';

/** What every function of an application can see. */
interface TimeContext {
  /** The replicated time in milliseconds since 1970, which never falls. Use it in place of the clock. */
  readonly time: number;
}

/** What `query()` can see. */
export interface QueryContext extends TimeContext {
  /** The session that asks. */
  readonly sessionId: SessionId;
}

/** What `tick()` can see and do, and every other function that changes the state. */
export interface TickContext extends TimeContext {
  /** Returns a number from 0 to 1, without 1. It is the same in every run with the same calls. Use it in place of `Math.random()`. */
  readonly random: () => number;
  /** Makes a server request to a session. A session that has ended gets nothing. */
  readonly pushServerRequest: (sessionId: SessionId, payload: Uint8Array) => void;
  /**
   * Ends a session after this call, and calls `sessionEnded()` for it. To its client the session has expired. Has no effect on a session that
   * has ended.
   */
  readonly endSession: (sessionId: SessionId) => void;
}

/** What a function of a session that changes the state can see and do. */
export interface SessionContext extends TickContext, QueryContext {}

/** Why a session ended: its client closed it, or sent nothing for the session timeout, or the application ended it. */
export type SessionEnd = 'closed' | 'expired' | 'application';

/** What `sessionEnded()` can see and do. */
export interface SessionEndedContext extends SessionContext {
  /** Why the session ended. */
  readonly end: SessionEnd;
}

/** What `apply()` can see and do. */
export interface CommandContext extends SessionContext {
  /** The command's id, which is unique within its session. */
  readonly requestId: RequestId;
}

/**
 * A state machine in JavaScript. Its functions run on the event loop, one at a time, in the order of the log. A command is executed
 * exactly once, however often the client sends it and whichever members fail meanwhile.
 *
 * The functions must return at once and be deterministic: the state and the answers follow from the calls alone. A function
 * that throws, returns no bytes or a promise, or asks for the time or for random numbers, ends the application: see
 * {@link ApplicationError}.
 *
 * The members share one copy of the state, so a new leader goes on with it, and there are no snapshots to write.
 */
export interface Application {
  /** Executes a command and returns its answer. */
  apply(command: Buffer, context: CommandContext): Uint8Array;
  /** Answers a query, which must not change the state. It runs any number of times. It may read the clock. */
  query(query: Buffer, context: QueryContext): Uint8Array;
  /** Takes note of a new session and of how its client describes itself. Throw {@link RejectedPayload} to refuse the session. */
  sessionCreated?(capabilities: ReadonlyMap<string, string>, context: SessionContext): void;
  /** Takes note that a session has ended. Forget what belongs to it. */
  sessionEnded?(context: SessionEndedContext): void;
  /**
   * Returns the replicated time at which the application next wants `tick()`, in milliseconds since 1970, or undefined if it waits for nothing.
   * The cluster asks at the start and after each call that may change the state; the time must follow from the state.
   */
  nextTick?(): number | undefined;
  /**
   * Handles everything that is due at `context.time`. It runs before the first entry of the log at or after the time that `nextTick()` named,
   * or by itself when that time comes. `nextTick()` must name a later time afterwards.
   */
  tick?(context: TickContext): void;
}

/**
 * Thrown by an application that cannot decode a payload. The cluster closes the connection, where a live member would stop
 * answering, and counts it as `closedRejectedPayload`; the client's request ends as `QUARANTINED`. The state must be unchanged.
 */
export class RejectedPayload extends Error {
  /** The name of the class. */
  override get name(): string {
    return 'RejectedPayload';
  }
}

/**
 * The application has failed: one of its functions threw, or broke a rule. `cause` is what it threw. The cluster calls it no more
 * and refuses all requests; every method of the cluster rejects with this error, `stop()` included.
 */
export class ApplicationError extends Error {
  /** The name of the class. */
  override get name(): string {
    return 'ApplicationError';
  }
}

/** The longest payload of an answer or a server request in bytes, which is the limit of the cluster's settings. */
const MAX_PAYLOAD = 16 * 1024 * 1024;

/** The description of a call by the native half. */
interface Call {
  readonly function: 'apply' | 'query' | 'sessionCreated' | 'sessionEnded' | 'tick';
  /** Not in a tick. */
  readonly sessionId: SessionId;
  /** Only at the end of a session. */
  readonly end: SessionEnd;
  readonly time: number;
  readonly requestId?: string;
  readonly seed?: readonly number[];
  readonly capabilities?: readonly [string, string][];
}

/** @internal How a call ended: its description for the native half, and the payloads of its answer and its server requests. */
export type Outcome = readonly [description: string, payloads: Buffer[]];

const REJECTED: Outcome = [JSON.stringify({ outcome: 'rejected' }), []];
/** @internal The outcome of a call that failed. */
export const FAILED: Outcome = [JSON.stringify({ outcome: 'failed' }), []];

/** @internal Returns true if a value has the functions of an application. Throws if it has others than it may have. */
export function isApplication(value: unknown): value is Application {
  if (typeof value !== 'object' || value === null) return false;
  const application = value as Readonly<Record<keyof Application, unknown>>;
  for (const name of ['apply', 'query', 'sessionCreated', 'sessionEnded', 'nextTick', 'tick'] as const) {
    const member = application[name];
    if (member === undefined && name !== 'apply' && name !== 'query') continue;
    if (typeof member !== 'function') throw new ValidationError(`application: ${name} must be a function`);
    if (types.isAsyncFunction(member) || types.isGeneratorFunction(member)) {
      throw new ValidationError(
        `application: ${name} must be a function that returns its answer at once, not an async function or a generator`,
      );
    }
  }
  if ((application.nextTick === undefined) !== (application.tick === undefined)) {
    throw new ValidationError('application: nextTick and tick go together');
  }
  return true;
}

/**
 * @internal Returns the time of the next tick, or null if the application wants none. `after` is the time of the tick that has just run.
 * Throws what makes the application fail.
 */
export function nextTick(application: Application, after?: number): number | null {
  const next: unknown = deterministic(() => application.nextTick?.());
  if (next === undefined) return null;
  if (typeof next !== 'number' || !Number.isFinite(next)) {
    throw new TypeError(`nextTick() must return a finite number of milliseconds or undefined, and returned ${inspect(next)}`);
  }
  // A tick that leaves something due would run again at once, without end.
  if (after !== undefined && next <= after) throw new RangeError(`nextTick() returned ${next} after tick() had run at ${after}`);
  return Math.min(Math.max(Math.ceil(next), 0), Number.MAX_SAFE_INTEGER);
}

/** @internal Runs a call of the application and returns how it ended. Throws what makes the application fail. */
export function run(application: Application, description: string, payload: Buffer): Outcome {
  const call = JSON.parse(description) as Call;
  const { sessionId, time } = call;
  let isRunning = true;
  const pushes: SessionId[] = [];
  const ends: SessionId[] = [];
  const payloads: Buffer[] = [];
  const alive = (name: string): void => {
    if (!isRunning) throw new Error(`context.${name}() was called after the function had returned`);
  };
  const random = generator(call.seed ?? []);
  const session = (name: string, id: unknown): void => {
    alive(name);
    if (typeof id !== 'string' || id === '') throw new TypeError(`${name}: the session id must be a string that is not empty`);
  };
  const changes: TickContext = {
    time,
    random: () => {
      alive('random');
      return random();
    },
    pushServerRequest: (to, payload) => {
      session('pushServerRequest', to);
      payloads.push(bytes('the payload of a server request', payload));
      pushes.push(to);
    },
    endSession: (id) => {
      session('endSession', id);
      ends.push(id);
    },
  };
  const context: SessionContext = { ...changes, sessionId };
  try {
    let answer: Buffer = Buffer.alloc(0);
    switch (call.function) {
      case 'apply':
        answer = bytes(
          'apply() must return the answer, which',
          deterministic(() => application.apply(payload, { ...context, requestId: BigInt(call.requestId ?? 0) as RequestId })),
        );
        break;
      case 'query':
        answer = bytes('query() must return the answer, which', application.query(payload, { sessionId, time }));
        break;
      case 'sessionCreated':
        nothing(
          'sessionCreated',
          deterministic(() => application.sessionCreated?.(new Map(call.capabilities), context)),
        );
        break;
      case 'sessionEnded':
        nothing(
          'sessionEnded',
          deterministic(() => application.sessionEnded?.({ ...context, end: call.end })),
        );
        break;
      case 'tick':
        nothing(
          'tick',
          deterministic(() => application.tick?.(changes)),
        );
        break;
    }
    const next = call.function === 'query' ? null : nextTick(application, call.function === 'tick' ? time : undefined);
    return [JSON.stringify({ outcome: 'returned', pushes, ends, nextTick: next }), [answer, ...payloads]];
  } catch (error) {
    if (error instanceof RejectedPayload && call.function !== 'sessionEnded' && call.function !== 'tick') return REJECTED;
    const which = call.requestId === undefined ? '' : ` of command ${call.requestId}`;
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new ApplicationError(`the application failed in ${call.function}()${which}: ${why}`, { cause: error });
  } finally {
    isRunning = false;
  }
}

/** Returns the bytes of what an application returned. */
function bytes(what: string, value: unknown): Buffer {
  refusePromise(what, value);
  if (!isPayload(value)) throw new TypeError(`${what} must be a Uint8Array or a Buffer, and is ${describe(value)}`);
  if (value.byteLength > MAX_PAYLOAD) throw new RangeError(`${what} must have at most ${MAX_PAYLOAD} bytes, and has ${value.byteLength}`);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function nothing(name: string, value: unknown): void {
  refusePromise(`${name}()`, value);
}

function refusePromise(what: string, value: unknown): void {
  if (typeof (value as PromiseLike<unknown> | null | undefined)?.then !== 'function') return;
  // Nothing else handles its rejection.
  (value as PromiseLike<unknown>).then(undefined, () => {});
  throw new TypeError(`${what} must not be a promise: the functions of an application are synchronous`);
}

function describe(value: unknown): string {
  return value === null || value === undefined ? String(value) : `of type ${typeof value}`;
}

/** Returns the generator sfc32 of random numbers, seeded with four numbers of 32 bits. */
function generator(seed: readonly number[]): () => number {
  let [a = 0, b = 0, c = 0, d = 0] = seed;
  return () => {
    const sum = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
}
