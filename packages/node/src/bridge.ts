/** The JavaScript side of the boundary: operations leave in batches, records arrive in chunks. */

import { Batch } from './batch';
import { Calls } from './calls';
import { pool, view } from './chunkPool';
import { type Failure, ValidationError } from './errors';
import { type ClientEvent, toEvent } from './events';
import type { MemberId } from './ids';
import { HEADER, Kind, MAX_INLINE, NEXT, Operation, OUT_OF_LINE, Pushed } from './layout';
import { native, type NativeClient } from './native';
import { lengthOf, plain } from './payloads';
import { raise, Rejection } from './rejections';
import { Requests } from './requests';
import { SpinWait } from './spinWait';

/** A pending call of the native half that is not a request. */
interface Call {
  readonly operation: Operation;
  readonly resolve: (value: never) => void;
  readonly reject: (rejection: Rejection) => void;
  /** Takes the call's listener off its signal. */
  readonly unhook?: (() => unknown) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The limits of the native half. */
interface Limits {
  /** Bytes of one payload. */
  readonly payload: number;
  /** Unsettled requests, and the bytes of their payloads. */
  readonly requests: number;
  readonly bytes: number;
}

/** How the requests of one call are reported. The functions run no code of the caller before the call has returned. */
export interface Batched {
  /** A request is answered, or its error is the promise's. */
  settle(index: number, answer: Buffer | Promise<never>): void;
  /** There is no room for a request. */
  overloaded(index: number): void;
  /** A request has this slot and generation. */
  readonly hook?: ((slot: number, generation: number) => void) | undefined;
}

/** What the bridge passes to its client. */
export interface Receiver {
  event(event: ClientEvent): void;
  /** A session began: server requests of earlier sessions are void. */
  sessionBegan(): void;
  serverRequest(requestId: bigint, createdAt: number, payload: Buffer, epoch: number): void;
  /** A call of `disconnect()` has ended. */
  disconnected(): void;
  /** Nothing is open, and nothing will happen before the next call. */
  parked(): void;
}

const CRASHED = 'the client stopped after an internal error';
const EMPTY = Buffer.alloc(0);
/** The requests of one call cross the boundary together, up to this many bytes, which are copied twice meanwhile. */
const MAX_PUSH = 64 * 1024 * 1024;
/** At most this many chunks are taken beside the first before the event loop gets a turn: 2 MiB of records. */
const MAX_CHUNKS = 256;
/** What waits for this continues after all that waits for promises settled before. */
const SETTLED = Promise.resolve();

/** The JavaScript side of one client, with its unsettled requests and pending calls. */
export class Bridge {
  readonly requests = new Requests();
  readonly #limits: Limits;
  readonly #receiver: Receiver;
  readonly #native: NativeClient;
  readonly #push: ReturnType<NativeClient['pusher']>;
  readonly #pushAll: ReturnType<NativeClient['allPusher']>;
  readonly #take: ReturnType<NativeClient['taker']>;
  readonly #spin = new SpinWait(this.requests);
  readonly #calls = new Calls<Call>();
  /** Operations that were not pushed yet. */
  #batch: Batch | undefined;
  #isScheduled = false;
  /** A record was lost, so the records after it cannot be understood and are not taken. */
  #isOutOfStep = false;

  constructor(settings: string, receiver: Receiver) {
    this.#receiver = receiver;
    this.#native = new native.NativeClient(settings, wakeFunction(new WeakRef(this)));
    this.#limits = JSON.parse(this.#native.limits()) as Limits;
    this.#push = this.#native.pusher();
    this.#pushAll = this.#native.allPusher();
    this.#take = this.#native.taker();
  }

  get state(): string {
    return this.#native.state;
  }

  get sessionId(): string | undefined {
    return this.#native.sessionId ?? undefined;
  }

  get memberId(): string | undefined {
    return this.#native.memberId ?? undefined;
  }

  /** Returns the statistics as JSON, with all operations so far taken into account. */
  stats(): string {
    this.flush();
    return this.#native.stats();
  }

  /** Returns why no request can have a payload of this length, if none can. */
  payloadFailure(length: number): Failure | undefined {
    if (length > 0 && length <= this.#limits.payload) return undefined;
    const failure = this.#native.payloadFailure(length);
    return failure === null ? undefined : (JSON.parse(failure) as Failure);
  }

  /** Returns true if there is room for one more request with a payload of this length. */
  hasRoom(length: number): boolean {
    const { requests } = this;
    return requests.unsettled < this.#limits.requests && requests.bytes + length <= this.#limits.bytes;
  }

  /** Adds a request, and leaves its slot and generation in `requests`. Throws if there is no memory for a copy of the payload. */
  request(operation: Operation, payload: Uint8Array, length: number, timeout: number): Promise<Buffer> {
    const { requests } = this;
    const batch = (this.#batch ??= Batch.take());
    const isInline = length <= MAX_INLINE;
    if (isInline) batch.copy(payload, length);
    else this.#native.stage(plain(payload, length));
    const promise = requests.add(length, operation === Operation.Query);
    const { slot, generation } = requests;
    if (isInline) {
      batch.addCopied(operation, slot, timeout, length, generation);
      this.#schedule();
    } else {
      batch.add(operation | OUT_OF_LINE, slot, timeout, length, generation);
      this.flush();
      // A request that fails at once may call a signal's methods, which may have submitted others.
      requests.slot = slot;
      requests.generation = generation;
    }
    return promise;
  }

  /** Adds requests and pushes them at once, in one batch however many they are. */
  requestAll(operation: Operation, payloads: readonly Uint8Array[], timeout: number, batched: Batched): void {
    // What was asked before is first.
    this.flush();
    for (let from = 0; from < payloads.length;) from = this.#requestSome(operation, payloads, from, timeout, batched);
  }

  /** Pushes the payloads from an index on that fit into one batch, at least one, and returns the index of the next. */
  #requestSome(operation: Operation, payloads: readonly Uint8Array[], from: number, timeout: number, batched: Batched): number {
    const { requests } = this;
    const lengths: number[] = [];
    let size = 0;
    for (let index = from; index < payloads.length; index++) {
      const length = lengthOf(payloads[index] as Uint8Array);
      const padded = (HEADER + length + 3) & ~3;
      if (index > from && size + padded > MAX_PUSH) break;
      lengths.push(length);
      size += padded;
    }
    let batch: Batch;
    try {
      batch = new Batch(size);
    } catch (error) {
      // There is no memory for the copy.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it is Node's own error
      for (const offset of lengths.keys()) batched.settle(from + offset, Promise.reject(error));
      return from + lengths.length;
    }
    // This loop and those of `checkedPayloads()` run for each command: an iterator of pairs would cost as much as the copy.
    for (let offset = 0; offset < lengths.length; offset++) {
      const index = from + offset;
      const length = lengths[offset] as number;
      if (this.hasRoom(length)) {
        batch.copy(payloads[index] as Uint8Array, length);
        requests.place(length, false, (answer) => batched.settle(index, answer as Buffer | Promise<never>));
        const { slot, generation } = requests;
        batch.addCopied(operation, slot, timeout, length, generation);
        batched.hook?.(slot, generation);
      } else {
        requests.refused = length;
        batched.overloaded(index);
      }
    }
    try {
      this.#afterPush(this.#pushAll(batch.bytes, batch.length) as Pushed);
    } catch (error) {
      this.#abort(error);
    }
    return from + lengths.length;
  }

  /** Calls the native half and returns its answer. */
  call<T>(operation: Operation, argument: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#add(operation, this.#calls.add({ operation, resolve, reject }), argument);
      this.#schedule();
    }).then(undefined, raise);
  }

  /** As `call()`, but at once, so that its effect shows. `begun` gets the number by which the call can be cancelled. */
  callNow(
    operation: Operation,
    timeout: number,
    begun?: (number: number) => void,
    signal?: AbortSignal,
    unhook?: () => unknown,
  ): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const number = this.#calls.add({ operation, resolve, reject, signal, unhook });
      begun?.(number);
      this.#add(operation, number, timeout);
      this.flush();
    }).then(undefined, raise);
  }

  /** Adds an operation that has no answer. */
  post(operation: Operation, id: number, argument: number, length = 0, generation = 0): void {
    this.#add(operation, id, argument, length, generation);
    this.#schedule();
  }

  /** Gives the native half a new list of members. Throws ValidationError, and changes nothing, if it is not accepted. */
  updateMembers(members: readonly [string, string][]): void {
    const failure = this.#native.stageMembers(JSON.stringify(members));
    if (failure !== null) throw new ValidationError((JSON.parse(failure) as Failure).message);
    this.post(Operation.Members, 0, 0);
  }

  /** Pushes the batch. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    let pushed: Pushed;
    try {
      pushed = this.#push(batch.bytes, batch.length) as Pushed;
    } catch (error) {
      this.#abort(error);
      return;
    }
    batch.release();
    this.#afterPush(pushed);
  }

  #afterPush(pushed: Pushed): void {
    if (pushed === Pushed.Ended) {
      while (this.#takeChunk());
      this.#end(CRASHED);
      return;
    }
    this.#spin.begin();
    // A parked driver does not wake this side, and the process may be about to end. Not at the next tick: a caller that submits
    // again at once would block the event loop.
    if (pushed === Pushed.Settled) setImmediate(drain, this);
  }

  /** Gives the native half's memory and thread back. Returns false if the driver runs again. */
  release(): boolean {
    return this.#native.release();
  }

  #add(operation: Operation, id: number, argument: number, length = 0, generation = 0): void {
    this.#batch ??= Batch.take();
    this.#batch.add(operation, id, argument, length, generation);
  }

  /** Pushes a full batch at once, and the rest of this turn of the event loop after the continuations of promises have run. */
  #schedule(): void {
    if (this.#batch?.isFull === true) {
      this.flush();
    } else if (!this.#isScheduled) {
      this.#isScheduled = true;
      process.nextTick(flush, this);
    }
  }

  /** @internal Pushes the batch that was scheduled. */
  static flush(this: void, bridge: Bridge): void {
    bridge.#isScheduled = false;
    bridge.flush();
  }

  /** @internal Takes the records of the native half. */
  static drain(this: void, bridge: Bridge | undefined): void {
    if (bridge !== undefined) bridge.#drain();
  }

  /**
   * Takes one chunk, and the rest after its callers have continued: what they submit is on its way while later answers are
   * settled. Only once, since with thousands of answers more such steps cost more in the processor's caches than they gain.
   */
  #drain(): void {
    if (this.#takeChunk()) void SETTLED.then(this.#takeRest);
  }

  readonly #takeRest = (): void => {
    for (let left = MAX_CHUNKS; left > 0; left--) {
      if (!this.#takeChunk()) return;
    }
    setImmediate(drain, this);
  };

  /** Takes a chunk and passes its records on. Returns false if there is none. */
  #takeChunk(): boolean {
    if (this.#isOutOfStep) return false;
    try {
      let taken = this.#take(pool.bytes, pool.at);
      if (taken === 0) return false;
      if (taken < 0) {
        pool.renew(-taken);
        taken = this.#take(pool.bytes, 0);
      }
      const length = taken >>> 0;
      const next = (taken / NEXT) | 0;
      const from = pool.at;
      const { bytes, memory, words } = pool;
      pool.at = from + length;
      const isReferenced = this.#takeRecords(memory, words, from, from + length);
      // Records that nothing refers to leave their place to the next chunk, unless a listener has made another client take one.
      if (!isReferenced && pool.bytes === bytes && pool.at === from + length) pool.at = from;
      if (next > pool.room) pool.renew(next);
      return true;
    } catch (error) {
      this.#abort(error);
      return false;
    }
  }

  /** Passes the records of a chunk on. Returns true if an answer or event refers to the chunk's memory. */
  #takeRecords(memory: ArrayBuffer, words: Int32Array, from: number, end: number): boolean {
    let isReferenced = false;
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
      if ((kind & OUT_OF_LINE) !== 0) {
        payload = Buffer.allocUnsafeSlow(length);
        this.#native.takeOutOfLine(payload);
        at = body;
      } else {
        if (length > 0) {
          payload = view(memory, body, length);
          isReferenced = true;
        }
        at = (body + length + 3) & ~3;
      }
      if ((kind & ~OUT_OF_LINE) === Kind.Answered) {
        this.requests.answer(id, generation, payload);
      } else {
        this.#takeRecord(kind & ~OUT_OF_LINE, id, generation, view(memory, head, headLength), payload);
      }
    }
    return isReferenced;
  }

  #takeRecord(kind: Kind, id: number, generation: number, head: Buffer, payload: Buffer): void {
    switch (kind) {
      case Kind.Failed:
        this.#fail(id, generation, parse(head));
        break;
      case Kind.Detached:
        this.requests.detach(id, generation, parse(head));
        break;
      case Kind.LateAnswer:
        this.requests.settleLate(id, generation, payload);
        break;
      case Kind.LateFailure:
        this.requests.settleLate(id, generation, parse(head));
        break;
      case Kind.CallDone:
        this.#endCall(id)?.resolve(undefined as never);
        break;
      case Kind.CallFailed: {
        const call = this.#endCall(id);
        call?.reject(new Rejection(parse(head), call.signal?.reason));
        break;
      }
      case Kind.Pong:
        this.#endCall(id)?.resolve(head.readDoubleLE() as never);
        break;
      case Kind.ServerRequest:
        this.#receiver.serverRequest(head.readBigInt64LE(0), Number(head.readBigInt64LE(8)), payload, id);
        break;
      case Kind.Epoch:
        this.#receiver.sessionBegan();
        break;
      case Kind.Event:
        this.#receiver.event(toEvent(head.toString(), payload));
        break;
      case Kind.Parked:
        this.#receiver.parked();
        break;
      case Kind.Crashed:
        this.#end(CRASHED);
        break;
    }
  }

  #fail(slot: number, generation: number, failure: Failure): void {
    if (failure.code === 'OVERLOADED') this.requests.refused = this.requests.lengthAt(slot);
    this.requests.fail(slot, generation, failure);
  }

  #endCall(number: number): Call | undefined {
    const call = this.#calls.take(number);
    call?.unhook?.();
    if (call?.operation === Operation.Disconnect) this.#receiver.disconnected();
    return call;
  }

  /** Ends the client permanently after an error that leaves the two halves out of step. */
  #abort(error: unknown): void {
    this.#isOutOfStep = true;
    this.#end(`${CRASHED}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** Settles everything that is pending, because the driver has ended. */
  #end(message: string): void {
    const { state, memberId } = this;
    // A driver that still runs must end: it would answer requests whose slots other requests have by then.
    this.#native.abandon();
    const failure: Failure = { code: 'CLOSED', message, maybeExecuted: false };
    this.requests.failAll({ ...failure, message: `${message}; the command may have been executed`, maybeExecuted: true }, failure);
    for (const call of this.#calls.drain()) {
      call.unhook?.();
      if (call.operation === Operation.Disconnect) call.resolve(undefined as never);
      else call.reject(new Rejection(failure));
    }
    this.#receiver.parked();
    // A driver that crashed has reported the end of its session itself, and its state is Disconnected.
    if (state === 'Connected') {
      this.#receiver.event({
        type: 'disconnected',
        reason: 'connectionLost',
        ...(memberId === undefined ? {} : { memberId: memberId as MemberId }),
      });
    }
  }
}

const { drain, flush } = Bridge;

/** The native half must not keep a client alive that nothing else refers to. An open client is kept alive by its timer. */
function wakeFunction(bridge: WeakRef<Bridge>): () => void {
  return () => drain(bridge.deref());
}

function parse(head: Buffer): Failure {
  return JSON.parse(head.toString()) as Failure;
}
