/** The client. */

import { EventEmitter } from 'node:events';
import { inspect, type InspectOptions } from 'node:util';

import { checked, type ClientConfig } from './config';
import { type Failure, ValidationError } from './errors';
import { type ClientEvent, type ClientEventMap, type ClientStateName, toEvent } from './events';
import type { MemberId, RequestId, SessionId } from './ids';
import { Batch, BESIDE, HEADER, Kind, MAX_INLINE, NEXT, Operation, part, pool, Pushed, USUAL } from './layout';
import { native, type NativeClient } from './native';
import { type ConnectOptions, type DisconnectOptions, type RequestOptions, toOptions } from './options';
import { isPayload, lengthOf, plain } from './payloads';
import { Calls, cancelled, NONE, overloaded, raise, Rejection, Requests } from './requests';
import { type IncomingServerRequest, type ServerRequestHandler, ServerRequests } from './serverRequests';
import { listen, unlisten } from './signals';
import type { Stats } from './stats';
import { Vigil } from './vigil';

/** What is asked beside requests. */
interface Call {
  readonly operation: Operation;
  readonly resolve: (value: never) => void;
  readonly reject: (rejection: Rejection) => void;
  readonly unhook?: () => unknown;
  readonly signal?: AbortSignal | undefined;
}

/** What the native half holds at most. */
interface Limits {
  /** Bytes of one payload. */
  readonly payload: number;
  /** Requests that are not settled, and bytes of their payloads. */
  readonly requests: number;
  readonly bytes: number;
}

/** Why everything failed. */
const GONE = 'the client broke';
const EMPTY = Buffer.alloc(0);
/** So many chunks are taken before the event loop gets its turn. */
const CHUNKS = 256;
/** Timers cannot be longer. */
const LONG = 2 ** 31 - 1;

// Listeners are typed by the event's name.
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface RaftClient {
  /** Calls the listener at every event of this name; {@link ClientEventMap} says what it gets. */
  on<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** Calls the listener at the next event of this name. */
  once<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As on(). */
  addListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As on(), ahead of the listeners there are. */
  prependListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As once(), ahead of the listeners there are. */
  prependOnceListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** Takes a listener away. */
  off<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
  /** As off(). */
  removeListener<E extends keyof ClientEventMap>(event: E, listener: (event: ClientEventMap[E]) => void): this;
}

/**
 * A client of a ZIO Raft cluster: one durable session, commands that are applied exactly once, linearizable queries,
 * and requests of the server in order. It finds the leader, and keeps the session through failures.
 *
 * Nothing is opened before {@link RaftClient.connect}; a client keeps the process alive from then until it ends.
 */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class RaftClient extends EventEmitter {
  readonly #native: NativeClient;
  readonly #push: ReturnType<NativeClient['pusher']>;
  readonly #take: ReturnType<NativeClient['taker']>;
  /** What was asked and not handed over yet. */
  #batch: Batch | undefined;
  readonly #requests = new Requests();
  readonly #vigil = new Vigil(this.#requests);
  readonly #calls = new Calls<Call>();
  readonly #serverRequests: ServerRequests;
  /** What of them others see. */
  readonly #iterable: AsyncIterable<IncomingServerRequest> = { [Symbol.asyncIterator]: () => this.#serverRequests[Symbol.asyncIterator]() };
  readonly #limits: Limits;
  /** The length of the payload that found no room last. */
  #refused = 1;
  #scheduled = false;
  /** Records were lost: what comes after them is not taken. */
  #isLost = false;
  #observes = false;
  /** Keeps the process alive, and this client. */
  #alive: NodeJS.Timeout | undefined;
  #unreferenced = false;

  /** Throws a {@link ValidationError} that names the setting at fault. */
  constructor(config: ClientConfig) {
    super();
    const settings = checked(config);
    this.#native = new native.NativeClient(settings, wakerOf(new WeakRef(this)));
    this.#limits = JSON.parse(this.#native.limits()) as Limits;
    this.#push = this.#native.pusher();
    this.#take = this.#native.taker();
    this.#serverRequests = new ServerRequests(
      {
        consume: (on) => this.#ask(Operation.Consume, 0, on ? 1 : 0),
        done: (id, epoch) => this.#serverRequestDone(id, epoch),
        handlerError: (error, request) => this.#tell({ type: 'handlerError', error, request }),
      },
      config.ackServerRequests === 'handled',
    );
  }

  /** Where the session is. */
  get state(): ClientStateName {
    return this.#native.state as ClientStateName;
  }

  /** The session, if there is one. A bearer secret. */
  get sessionId(): SessionId | undefined {
    return (this.#native.sessionId ?? undefined) as SessionId | undefined;
  }

  /** The member that the session is, or was last, connected to. */
  get memberId(): MemberId | undefined {
    return (this.#native.memberId ?? undefined) as MemberId | undefined;
  }

  /** Figures since the client was made. */
  stats(): Stats {
    this.#flush();
    const stats = JSON.parse(this.#native.stats()) as Record<string, number | null>;
    return Object.fromEntries(Object.entries(stats).map(([name, value]) => [name, value ?? undefined])) as unknown as Stats;
  }

  /**
   * Opens a session, or joins the attempt under way; resolves when there is one. What is submitted after the call,
   * even before it resolves, is queued. During a disconnect() it waits for the end of that, and what is submitted
   * until then fails with ClosedError, not executed.
   *
   * Rejects with ConnectionError, SessionRejectedError, CancelledError, or ClosedError when disconnect() overtakes it.
   */
  connect(options: ConnectOptions = {}): Promise<void> {
    const { timeout, signal } = toOptions(options);
    if (signal?.aborted) return cancelled(signal);
    let number = 0;
    let isAborted = false;
    const abort = (): void => {
      isAborted = true;
      if (number !== 0) this.#ask(Operation.CancelConnect, number, 0);
    };
    const unhook = (): unknown => signal !== undefined && unlisten(signal, abort);
    // A signal of another class may throw, or abort at once: before there is anything to take back.
    if (signal !== undefined) {
      listen(signal, abort);
      if (isAborted) {
        unhook();
        return cancelled(signal);
      }
    }
    const promise = new Promise<void>((resolve, reject) => {
      number = this.#calls.add({ operation: Operation.Connect, resolve, reject, signal, unhook });
      this.#keepAlive();
      this.#add(Operation.Connect, number, timeout);
      this.#flush();
    });
    return promise.then(undefined, raise);
  }

  /**
   * Submits a command: it changes the replicated state, and is executed exactly once, or its outcome is told as
   * unknown. The payload's bytes are taken at the call. Resolves with the answer.
   */
  submitCommand(payload: Uint8Array, options?: RequestOptions): Promise<Buffer> {
    return this.#submit(Operation.Command, payload, options);
  }

  /** Submits a query: it reads the replicated state, linearizably. Resolves with the answer. */
  submitQuery(payload: Uint8Array, options?: RequestOptions): Promise<Buffer> {
    return this.#submit(Operation.Query, payload, options);
  }

  /**
   * Resolves when there is room below `maxQueued` and `maxQueuedBytes` for the payload that was last refused with
   * OverloadedError, or for any if none was. Never before the event loop has had a turn.
   */
  async ready(): Promise<void> {
    const refused = this.#refused;
    await this.#call<undefined>(Operation.Ready, refused);
    // Many calls of this side may be made in one turn: who submits in a loop would keep out all else.
    await new Promise(setImmediate);
    if (this.#refused === refused) this.#refused = 1;
  }

  /** The round-trip time to the leader, by a KeepAlive, in milliseconds. */
  ping(): Promise<number> {
    return this.#call(Operation.Ping, 0);
  }

  /**
   * Registers the one handler of server requests; it may be registered before connect(). One that throws, or whose
   * promise is rejected, is told by the event `handlerError`. The result takes the handler away again.
   */
  onServerRequest(handler: ServerRequestHandler): () => void {
    return this.#serverRequests.handle(handler);
  }

  /** Server requests, in order: the other way to take them. An iteration ends when the client ends. */
  get serverRequests(): AsyncIterable<IncomingServerRequest> {
    return this.#iterable;
  }

  /**
   * Ends the session: stops new work, waits for what was submitted to be answered, then closes. Never rejects, may be
   * called again, and the process can exit afterwards.
   */
  disconnect(options: DisconnectOptions = {}): Promise<void> {
    return this.#call(Operation.Disconnect, toOptions(options).timeout, true);
  }

  /** As disconnect(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** The client keeps the process alive while it is open: the default. */
  ref(): this {
    this.#unreferenced = false;
    this.#alive?.ref();
    return this;
  }

  /** The client does not keep the process alive. */
  unref(): this {
    this.#unreferenced = true;
    this.#alive?.unref();
    return this;
  }

  override on(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#observing(super.on(event, listener as () => void));
  }

  override addListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#observing(super.addListener(event, listener as () => void));
  }

  override prependListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#observing(super.prependListener(event, listener as () => void));
  }

  override off(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#observing(super.off(event, listener as () => void));
  }

  override removeListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.#observing(super.removeListener(event, listener as () => void));
  }

  override removeAllListeners(event?: string | symbol): this {
    // The emitter counts its arguments: an event that is undefined is an event.
    return this.#observing(event === undefined ? super.removeAllListeners() : super.removeAllListeners(event));
  }

  /** @internal */
  toJSON(): Record<string, unknown> {
    return { state: this.state, memberId: this.memberId, ...(this.sessionId === undefined ? {} : { sessionId: '***' }) };
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `RaftClient ${inspect(this.toJSON(), options)}`;
  }

  #submit(operation: Operation, payload: Uint8Array, options: RequestOptions | undefined): Promise<Buffer> {
    if (!isPayload(payload)) throw new ValidationError('the payload must be a Uint8Array or a Buffer');
    if (options === undefined) return this.#enqueue(operation, payload, USUAL);
    this.#check(lengthOf(payload));
    const { timeout, signal } = toOptions(options);
    return signal === undefined ? this.#enqueue(operation, payload, timeout) : this.#follow(operation, payload, timeout, signal);
  }

  /** Throws where no request can have a payload of this length. */
  #check(length: number): void {
    if (length > 0 && length <= this.#limits.payload) return;
    const failure = this.#native.payloadFailure(length);
    if (failure !== null) throw new ValidationError((JSON.parse(failure) as Failure).message);
  }

  /** Calls nothing of the caller's between the look at the payload's length and its copy. What throws takes no slot. */
  #enqueue(operation: Operation, payload: Uint8Array, timeout: number): Promise<Buffer> {
    const requests = this.#requests;
    requests.slot = NONE;
    const length = lengthOf(payload);
    this.#check(length);
    if (requests.open >= this.#limits.requests || requests.bytes + length > this.#limits.bytes) {
      this.#refused = length;
      return overloaded();
    }
    const batch = (this.#batch ??= Batch.take());
    const isShort = length <= MAX_INLINE;
    if (isShort) batch.copy(payload, length);
    else this.#native.stage(plain(payload, length));
    const promise = requests.add(length, operation === Operation.Query);
    const { slot, generation } = requests;
    if (isShort) {
      batch.addCopied(operation, slot, timeout, length, generation);
      this.#schedule();
    } else {
      batch.add(operation | BESIDE, slot, timeout, length, generation);
      this.#flush();
      // What fails at once may call a signal's methods, which may have submitted others.
      requests.slot = slot;
      requests.generation = generation;
    }
    return promise;
  }

  /** A signal may be of any class: it is listened to before anything else, since that may throw, or do anything. */
  #follow(operation: Operation, payload: Uint8Array, timeout: number, signal: AbortSignal): Promise<Buffer> {
    if (signal.aborted) return cancelled(signal);
    const requests = this.#requests;
    let slot = NONE;
    let generation = 0;
    let isAborted = false;
    const abort = (): void => {
      isAborted = true;
      if (slot !== NONE) this.#ask(Operation.Cancel, slot, 0, generation);
    };
    listen(signal, abort);
    let promise: Promise<Buffer>;
    try {
      if (isAborted) return cancelled(signal);
      promise = this.#enqueue(operation, payload, timeout);
      ({ slot, generation } = requests);
    } finally {
      if (slot === NONE) unlisten(signal, abort);
    }
    if (slot !== NONE) requests.hook(slot, generation, signal, abort);
    return promise;
  }

  #call<T>(operation: Operation, argument: number, now = false): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      this.#add(operation, this.#calls.add({ operation, resolve, reject }), argument);
      if (now) this.#flush();
      else this.#schedule();
    });
    return promise.then(undefined, raise);
  }

  /** Asks what has no answer. */
  #ask(operation: Operation, id: number, argument: number, generation = 0): void {
    this.#add(operation, id, argument, 0, generation);
    this.#schedule();
  }

  #add(operation: Operation, id: number, argument: number, length = 0, generation = 0): void {
    this.#batch ??= Batch.take();
    this.#batch.add(operation, id, argument, length, generation);
  }

  #serverRequestDone(id: RequestId, epoch: number): void {
    this.#add(Operation.ServerRequestDone, epoch, Number(id & 0xffff_ffffn), Number(id >> 32n));
    this.#schedule();
  }

  #observing(client: this): this {
    const observes = this.listenerCount('messageSent') + this.listenerCount('messageReceived') > 0;
    if (observes !== this.#observes) {
      this.#observes = observes;
      this.#ask(Operation.Observe, 0, observes ? 1 : 0);
    }
    return client;
  }

  /** What was asked in this turn of the event loop goes as one batch, after the promises' continuations. */
  #schedule(): void {
    if (this.#batch?.isFull === true) {
      this.#flush();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      process.nextTick(flush, this);
    }
  }

  /** @internal Hands the batch over. */
  static flush(this: void, client: RaftClient): void {
    client.#scheduled = false;
    client.#flush();
  }

  #flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    let pushed: Pushed;
    try {
      pushed = this.#push(batch.bytes, batch.length) as Pushed;
    } catch (error) {
      this.#end(error);
      return;
    }
    batch.release();
    if (pushed === Pushed.Gone) {
      this.#drain();
      this.#break(GONE);
      return;
    }
    this.#vigil.begin();
    // The driver rests: nobody wakes this side, and the process may be about to end. Not at the next tick, or who asks again
    // at once would stop the event loop.
    if (pushed === Pushed.Settled) setImmediate(drain, this);
  }

  /** @internal Takes what the native half has. */
  static drain(this: void, client: RaftClient | undefined): void {
    if (client !== undefined) client.#drain();
  }

  /** What is not taken whole cannot be gone on from: the records after it would not be understood. */
  #drain(): void {
    if (this.#isLost) return;
    try {
      this.#takeChunks();
    } catch (error) {
      this.#end(error);
    }
  }

  #takeChunks(): void {
    for (let chunks = 0; chunks < CHUNKS; chunks++) {
      let taken = this.#take(pool.bytes, pool.at);
      if (taken === 0) return;
      if (taken < 0) {
        pool.renew(-taken);
        taken = this.#take(pool.bytes, 0);
      }
      const length = taken >>> 0;
      const next = (taken / NEXT) | 0;
      const from = pool.at;
      const { bytes, memory, words } = pool;
      pool.at = from + length;
      // Where nothing of a chunk is kept its place is used again.
      if (!this.#takeRecords(memory, words, from, from + length) && pool.bytes === bytes && pool.at === from + length) pool.at = from;
      if (next > pool.room) pool.renew(next);
    }
    setImmediate(drain, this);
  }

  /** True: something outside refers to the bytes. */
  #takeRecords(memory: ArrayBuffer, words: Int32Array, from: number, end: number): boolean {
    let kept = false;
    let at = from;
    while (at < end) {
      const word = at >> 2;
      const kind = words[word] as number;
      const id = words[word + 1] as number;
      const headLength = words[word + 2] as number;
      const length = words[word + 3] as number;
      const generation = words[word + 4] as number;
      const head = at + HEADER;
      const body = (head + headLength + 3) & ~3;
      let payload: Buffer = EMPTY;
      if ((kind & BESIDE) !== 0) {
        payload = Buffer.allocUnsafeSlow(length);
        this.#native.takeBeside(payload);
        at = body;
      } else {
        if (length > 0) {
          payload = part(memory, body, length);
          kept = true;
        }
        at = (body + length + 3) & ~3;
      }
      if ((kind & ~BESIDE) === Kind.Answered) {
        this.#requests.answer(id, generation, payload);
      } else {
        this.#takeRecord(kind & ~BESIDE, id, generation, part(memory, head, headLength), payload);
      }
    }
    return kept;
  }

  #takeRecord(kind: Kind, id: number, generation: number, head: Buffer, payload: Buffer): void {
    switch (kind) {
      case Kind.Failed:
        this.#fail(id, generation, parse(head));
        break;
      case Kind.Detached:
        this.#requests.detach(id, generation, parse(head));
        break;
      case Kind.LateAnswer:
        this.#requests.settleLate(id, generation, payload);
        break;
      case Kind.LateFailure:
        this.#requests.settleLate(id, generation, parse(head));
        break;
      case Kind.CallDone:
        this.#endCall(id)?.resolve(undefined as never);
        break;
      case Kind.Pong:
        this.#endCall(id)?.resolve(head.readDoubleLE() as never);
        break;
      case Kind.CallFailed: {
        const call = this.#endCall(id);
        call?.reject(new Rejection(parse(head), call.signal?.reason));
        break;
      }
      case Kind.ServerRequest:
        this.#serverRequests.push(head.readBigInt64LE(0), Number(head.readBigInt64LE(8)), payload, id);
        break;
      case Kind.Epoch:
        this.#serverRequests.begin(id);
        break;
      case Kind.Event:
        this.#tell(toEvent(head.toString(), payload));
        break;
      case Kind.Rests:
        this.#rest();
        break;
      case Kind.Broke:
        this.#break(GONE);
        break;
    }
  }

  #fail(slot: number, generation: number, failure: Failure): void {
    if (failure.code === 'OVERLOADED') this.#refused = this.#requests.lengthAt(slot);
    this.#requests.fail(slot, generation, failure);
  }

  #endCall(number: number): Call | undefined {
    const call = this.#calls.take(number);
    call?.unhook?.();
    if (call?.operation === Operation.Disconnect) this.#serverRequests.end();
    return call;
  }

  /** A listener that throws is the process's business, as with every emitter, but not now: others wait. */
  #tell(event: ClientEvent): void {
    try {
      this.emit(event.type, event);
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }

  /** Nothing is open any more, unless connect() was called meanwhile. */
  #rest(): void {
    if (!this.#native.release()) return;
    clearInterval(this.#alive);
    this.#alive = undefined;
    this.#serverRequests.end();
  }

  /** Ends the client for good, since the two halves do not understand each other any more. */
  #end(error: unknown): void {
    this.#isLost = true;
    this.#break(`${GONE}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** The native half is gone: nobody may be left waiting. */
  #break(why: string): void {
    const { state, memberId } = this;
    // Where it is not gone it must go: it would answer requests that others have the slots of by then.
    this.#native.abandon();
    const failure: Failure = { code: 'CLOSED', message: why, maybeExecuted: false };
    this.#requests.failAll({ ...failure, message: `${why}; it may have been executed`, maybeExecuted: true }, failure);
    for (const call of this.#calls.drain()) {
      call.unhook?.();
      if (call.operation === Operation.Disconnect) call.resolve(undefined as never);
      else call.reject(new Rejection(failure));
    }
    this.#rest();
    // Nobody else tells of it: a driver that broke by itself has done so, and is Disconnected.
    if (state === 'Connected')
      this.#tell({ type: 'disconnected', reason: 'connectionLost', ...(memberId === undefined ? {} : { memberId }) });
  }

  #keepAlive(): void {
    if (this.#alive !== undefined) return;
    this.#alive = setInterval(nothing, LONG, this);
    if (this.#unreferenced) this.#alive.unref();
  }
}

const flush = RaftClient.flush;
const drain = RaftClient.drain;

/** The native half must not keep a client alive that nobody holds: while it is open, its timer does. */
function wakerOf(client: WeakRef<RaftClient>): () => void {
  return () => drain(client.deref());
}

function nothing(_client: RaftClient): void {}

function rethrow(error: unknown): never {
  throw error;
}

function parse(head: Buffer): Failure {
  return JSON.parse(head.toString()) as Failure;
}
