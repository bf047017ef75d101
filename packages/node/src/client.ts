/** The client. */

import { EventEmitter } from 'node:events';
import { inspect, type InspectOptions } from 'node:util';

import { Bridge } from './bridge';
import { checkedPayloads, submitAll } from './bulk';
import { checked, type ClientConfig, memberEntries } from './config';
import type { ClientEvent, ClientEventMap, ClientStateName } from './events';
import type { MemberId, SessionId } from './ids';
import { Operation } from './layout';
import { Lookups } from './lookup';
import { type ConnectOptions, type DisconnectOptions, type RequestOptions, toOptions } from './options';
import { CommandOutcomes } from './outcomes';
import { isPayload, lengthOf } from './payloads';
import { cancelled } from './rejections';
import { type IncomingServerRequest, type ServerRequestHandler, ServerRequests } from './serverRequests';
import { listen, unlisten } from './signals';
import type { Stats } from './stats';
import { ready, submit } from './submission';
import { isTraced, trace, type TracedCall } from './tracing';

/** The longest interval that a timer of Node can have, in milliseconds. */
const MAX_INTERVAL = 2 ** 31 - 1;

// Listeners are typed by the event's name.
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface RaftClient {
  /** Calls the listener at every event of this name. {@link ClientEventMap} lists the events and their fields. */
  on<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** Calls the listener at the next event of this name. */
  once<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As on(). */
  addListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As on(), but calls this listener before those already registered. */
  prependListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As once(), but calls this listener before those already registered. */
  prependOnceListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** Removes a listener. */
  off<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As off(). */
  removeListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
}

/**
 * A client of a ZIO Raft cluster: one durable session, commands that are executed exactly once, linearizable queries, and
 * server requests in order. It finds the leader and keeps the session through failures.
 *
 * A new client opens nothing before {@link RaftClient.connect}. An open client keeps the process alive; see
 * {@link RaftClient.unref}.
 */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class RaftClient extends EventEmitter {
  readonly #bridge: Bridge;
  readonly #serverRequests: ServerRequests;
  /** The part of `#serverRequests` that the application sees. */
  readonly #iterable: AsyncIterable<IncomingServerRequest> = { [Symbol.asyncIterator]: () => this.#serverRequests[Symbol.asyncIterator]() };
  #observesMessages = false;
  /** Keeps the process and this client alive while the client is open. */
  #timer: NodeJS.Timeout | undefined;
  #isUnreferenced = false;

  /** The endpoints of the members. */
  #endpoints: ReadonlyMap<string, string>;
  /** What looks for members, if anything does. */
  readonly #lookups: Lookups | undefined;

  /** Checks the settings and opens nothing. Throws a `ValidationError` that names the setting at fault. */
  constructor(config: ClientConfig) {
    super();
    const settings = checked(config);
    this.#endpoints = new Map((JSON.parse(settings) as { clusterMembers: [string, string][] }).clusterMembers);
    const { resolveMember, membersFromDns } = config;
    if (resolveMember !== undefined || membersFromDns !== undefined) {
      const present = (): ReadonlyMap<string, string> => this.#endpoints;
      this.#lookups = new Lookups({ resolveMember, membersFromDns }, present, (members) => this.updateMembers(members));
    }
    this.#bridge = new Bridge(settings, {
      event: (event) => {
        this.#lookups?.event(event);
        this.#emit(event);
      },
      sessionBegan: () => this.#serverRequests.begin(),
      serverRequest: (id, createdAt, payload, epoch) => this.#serverRequests.push(id, createdAt, payload, epoch),
      disconnected: () => this.#serverRequests.end(),
      parked: () => this.#park(),
    });
    this.#serverRequests = new ServerRequests(
      {
        consume: (on) => this.#bridge.post(Operation.Consume, 0, on ? 1 : 0),
        done: (id, epoch) => this.#bridge.post(Operation.ServerRequestDone, epoch, Number(id & 0xffff_ffffn), Number(id >> 32n)),
        handlerError: (error, request) => this.#emit({ type: 'handlerError', error, request }),
      },
      config.ackServerRequests === 'handled',
    );
  }

  /** The state of the session. */
  get state(): ClientStateName {
    return this.#bridge.state as ClientStateName;
  }

  /** The id of the session, or undefined if there is none. A bearer secret. */
  get sessionId(): SessionId | undefined {
    return this.#bridge.sessionId as SessionId | undefined;
  }

  /** The member that the session is, or was last, connected to. */
  get memberId(): MemberId | undefined {
    return this.#bridge.memberId as MemberId | undefined;
  }

  /** Returns the counters of this client since it was made, and how long its requests took. */
  stats(): Stats {
    return withUndefined(JSON.parse(this.#bridge.stats())) as Stats;
  }

  /**
   * Opens a session, or joins the attempt in progress. Resolves when the session is open.
   *
   * Requests submitted after the call, even before it resolves, are queued. During a `disconnect()` this call waits until that
   * has finished; requests submitted in between fail with `ClosedError`, not executed.
   *
   * Rejects with `ConnectionError`, `SessionRejectedError`, `CancelledError`, or, if `disconnect()` is called meanwhile,
   * `ClosedError`.
   */
  connect(options: ConnectOptions = {}): Promise<void> {
    if (!isTraced('connect')) return this.#connect(options);
    return trace({ operation: 'connect' }, this.#locate, () => this.#connect(options));
  }

  #connect(options: ConnectOptions): Promise<void> {
    const { timeout, signal } = toOptions(options);
    if (signal?.aborted) return cancelled(signal);
    let number = 0;
    let isAborted = false;
    const abort = (): void => {
      isAborted = true;
      if (number !== 0) this.#bridge.post(Operation.CancelConnect, number, 0);
    };
    const unhook = (): unknown => signal !== undefined && unlisten(signal, abort);
    // A signal of another class may throw, or abort at once, so this comes before anything that would have to be undone.
    if (signal !== undefined) {
      listen(signal, abort);
      if (isAborted) {
        unhook();
        return cancelled(signal);
      }
    }
    const begun = (call: number): void => {
      number = call;
      this.#holdProcess();
    };
    return this.#bridge.callNow(Operation.Connect, timeout, begun, signal, unhook);
  }

  /**
   * Submits a command, which changes the replicated state. Resolves with the answer.
   *
   * The command is executed exactly once, or the promise rejects with an error that says if it may have been executed. The
   * payload's bytes are copied at the call. Throws a `ValidationError` if the payload or an option cannot be accepted.
   */
  submitCommand(payload: Uint8Array, options?: RequestOptions): Promise<Buffer> {
    if (!isTraced('command')) return submit(this.#bridge, Operation.Command, payload, options);
    return trace(traced('command', payload), this.#locate, () => submit(this.#bridge, Operation.Command, payload, options));
  }

  /**
   * Submits many commands in one call: they reach the native half together, and there is no promise for each. Every command has
   * the outcome that it would have alone, `OverloadedError` included; the signal and the timeout are for each of them. Throws a
   * `ValidationError`, and submits none, if a payload cannot be accepted.
   */
  submitCommands(payloads: Iterable<Uint8Array>, options: RequestOptions = {}): CommandOutcomes {
    if (!isTraced('command')) return submitAll(this.#bridge, payloads, options);
    // Each command has its own trace.
    const all = checkedPayloads(this.#bridge, payloads);
    toOptions(options);
    const outcomes = new CommandOutcomes(all.length);
    for (const [index, payload] of all.entries()) outcomes.settle(index, this.submitCommand(payload, options));
    return outcomes;
  }

  /** As `submitCommand()`, for a query, which reads the replicated state linearizably. A query is always safe to repeat. */
  submitQuery(payload: Uint8Array, options?: RequestOptions): Promise<Buffer> {
    if (!isTraced('query')) return submit(this.#bridge, Operation.Query, payload, options);
    return trace(traced('query', payload), this.#locate, () => submit(this.#bridge, Operation.Query, payload, options));
  }

  /**
   * Resolves when there is room below `maxQueued` and `maxQueuedBytes` for the payload that was last refused with
   * `OverloadedError`, or for any payload if none was. Never resolves before the event loop has had a turn.
   */
  ready(): Promise<void> {
    return ready(this.#bridge);
  }

  /**
   * Gives the client these members in place of those that it had, at any time: while it is connected, while it looks for a member, or
   * before the next `connect()`.
   *
   * A member of both lists, with the same id and endpoint, stays the same. Removed members are not asked any more, and a search asks
   * added ones at once. A session stays connected where it is, also at a removed member, until that connection ends. Throws a
   * `ValidationError`, and changes nothing, if the constructor would not take these members.
   */
  updateMembers(clusterMembers: ClientConfig['clusterMembers']): void {
    const members = memberEntries(clusterMembers);
    this.#bridge.updateMembers(members);
    this.#endpoints = new Map(members);
  }

  /** Measures the round-trip time to the leader with a KeepAlive. Resolves with milliseconds. */
  ping(): Promise<number> {
    return this.#bridge.call(Operation.Ping, 0);
  }

  /**
   * Registers the one handler of server requests, before `connect()` or after. If the handler throws or its promise is rejected,
   * the event `handlerError` reports it. Returns a function that removes the handler.
   */
  onServerRequest(handler: ServerRequestHandler): () => void {
    return this.#serverRequests.handle(handler);
  }

  /** Server requests in order: the alternative to a handler. An iteration ends when the client ends. */
  get serverRequests(): AsyncIterable<IncomingServerRequest> {
    return this.#iterable;
  }

  /**
   * Ends the session: refuses new requests, waits until all submitted requests are settled or the timeout passes, and closes
   * the session. Never rejects, may be called again, and the process can exit afterwards.
   */
  disconnect(options: DisconnectOptions = {}): Promise<void> {
    return this.#bridge.callNow(Operation.Disconnect, toOptions(options).timeout);
  }

  /** As `disconnect()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** Makes the client keep the process alive while it is open, which is the default. */
  ref(): this {
    this.#isUnreferenced = false;
    this.#timer?.ref();
    return this;
  }

  /** Lets the process exit while the client is open. */
  unref(): this {
    this.#isUnreferenced = true;
    this.#timer?.unref();
    return this;
  }

  override on(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#updateObservation(super.on(event, listener as () => void));
  }

  override addListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#updateObservation(super.addListener(event, listener as () => void));
  }

  override prependListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#updateObservation(super.prependListener(event, listener as () => void));
  }

  override off(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#updateObservation(super.off(event, listener as () => void));
  }

  override removeListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#updateObservation(super.removeListener(event, listener as () => void));
  }

  override removeAllListeners(event?: string | symbol): this {
    // The emitter counts its arguments: it takes an undefined argument for the name of an event.
    return this.#updateObservation(event === undefined ? super.removeAllListeners() : super.removeAllListeners(event));
  }

  /** @internal The form for logs. */
  toJSON(): Record<string, unknown> {
    return { state: this.state, memberId: this.memberId, ...(this.sessionId === undefined ? {} : { sessionId: '***' }) };
  }

  /** @internal The form for `inspect`. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `RaftClient ${inspect(this.toJSON(), options)}`;
  }

  /** Writes the member of the session into a traced call. */
  readonly #locate = (call: TracedCall): void => {
    call.memberId = this.memberId;
    call.endpoint = call.memberId === undefined ? undefined : this.#endpoints.get(call.memberId);
  };

  /** Has events made of messages only while a listener wants them. */
  #updateObservation(client: this): this {
    const observes = this.listenerCount('messageSent') + this.listenerCount('messageReceived') > 0;
    if (observes !== this.#observesMessages) {
      this.#observesMessages = observes;
      this.#bridge.post(Operation.Observe, 0, observes ? 1 : 0);
    }
    return client;
  }

  /** Emits an event. A listener that throws reaches the process as with every emitter, but later: other records come first. */
  #emit(event: ClientEvent): void {
    try {
      this.emit(event.type, event);
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }

  #holdProcess(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(nothing, MAX_INTERVAL, this);
    if (this.#isUnreferenced) this.#timer.unref();
  }

  /** Lets the process exit, unless `connect()` was called since the driver was parked. */
  #park(): void {
    if (!this.#bridge.release()) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#serverRequests.end();
  }
}

/** Returns the beginning of a request's trace. What is not a payload is refused later. */
function traced(operation: 'command' | 'query', payload: Uint8Array): TracedCall {
  return isPayload(payload) ? { operation, payloadBytes: lengthOf(payload) } : { operation };
}

/** Returns a value of JSON with undefined in place of null, which stands for a figure that does not exist yet. */
function withUndefined(value: unknown): unknown {
  if (value === null) return undefined;
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, withUndefined(entry)]));
}

function nothing(_client: RaftClient): void {}

function rethrow(error: unknown): never {
  throw error;
}
