/** Server requests and their consumer. */

import { ValidationError } from './errors';
import type { RequestId } from './ids';
import type { ServerRequest } from './messages';
import { Masked } from './secrets';

/** A server request as the application receives it. */
export interface IncomingServerRequest extends ServerRequest {
  /**
   * With `ackServerRequests: 'handled'`, acknowledges the request, so that the next one can come. A handler that returns, or
   * whose promise settles, acknowledges its request without it. With `'delivered'` it has no effect.
   */
  acknowledge(): void;
}

/** Handles server requests, one at a time and in order. A returned promise is awaited; any other value is ignored. */
export type ServerRequestHandler = (request: IncomingServerRequest) => unknown;

class Incoming extends Masked implements IncomingServerRequest {
  readonly type = 'ServerRequest';
  readonly #acknowledge: (request: Incoming) => void;
  readonly #epoch: number;

  constructor(
    readonly requestId: RequestId,
    readonly payload: Buffer,
    readonly createdAt: Date,
    epoch: number,
    acknowledge: (request: Incoming) => void,
  ) {
    super();
    this.#epoch = epoch;
    this.#acknowledge = acknowledge;
  }

  /** @internal The number of the session that it belongs to. */
  get epoch(): number {
    return this.#epoch;
  }

  acknowledge(): void {
    this.#acknowledge(this);
  }
}

/** The client, as far as server requests need it. */
interface Client {
  /** Starts or stops the delivery of server requests to this side. */
  consume(on: boolean): void;
  /** Acknowledges a request. */
  done(requestId: RequestId, epoch: number): void;
  handlerError(error: unknown, request: ServerRequest): void;
}

/** Delivers server requests to their one consumer. */
export class ServerRequests implements AsyncIterable<IncomingServerRequest> {
  readonly #client: Client;
  readonly #handled: boolean;
  /** Requests that were not delivered yet. */
  #queue: Incoming[] = [];
  /** With `'handled'`, the request that was delivered and not handled yet. */
  #current: Incoming | undefined;
  #consumer: ServerRequestHandler | Iterator | undefined;

  constructor(client: Client, handled: boolean) {
    this.#client = client;
    this.#handled = handled;
  }

  /** Registers the handler. Returns a function that removes it. */
  handle(handler: ServerRequestHandler): () => void {
    if (typeof handler !== 'function') throw new ValidationError('the handler must be a function');
    this.#claim(handler);
    this.#deliver();
    return () => this.#leave(handler);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<IncomingServerRequest> {
    const iterator = new Iterator(
      () => this.#deliver(),
      () => this.#leave(iterator),
    );
    this.#claim(iterator);
    return iterator;
  }

  #claim(consumer: ServerRequestHandler | Iterator): void {
    if (this.#consumer !== undefined) {
      throw new ValidationError('server requests already have a consumer: one handler or one iteration at a time');
    }
    this.#consumer = consumer;
    this.#client.consume(true);
  }

  #leave(consumer: ServerRequestHandler | Iterator): void {
    if (this.#consumer !== consumer) return;
    this.#consumer = undefined;
    this.#client.consume(false);
    if (consumer instanceof Iterator && this.#current !== undefined) {
      // It was taken and not handled, so the next consumer receives it.
      this.#queue.unshift(this.#current);
      this.#current = undefined;
    }
  }

  /** Begins a new session. Requests of the old one are void. */
  begin(): void {
    this.#queue = [];
    this.#current = undefined;
  }

  push(requestId: bigint, createdAt: number, payload: Buffer, epoch: number): void {
    const acknowledge = (request: Incoming): void => this.#finish(request);
    this.#queue.push(new Incoming(requestId as RequestId, payload, new Date(createdAt), epoch, acknowledge));
    this.#deliver();
  }

  /** Ends an iteration, because the client has ended. A handler stays for the next session. */
  end(): void {
    const consumer = this.#consumer;
    if (consumer instanceof Iterator) {
      this.#leave(consumer);
      consumer.end();
    }
  }

  #deliver(): void {
    while (this.#queue.length > 0 && this.#current === undefined) {
      const consumer = this.#consumer;
      if (consumer === undefined || (consumer instanceof Iterator && !consumer.isWaiting)) return;
      const request = this.#queue.shift() as Incoming;
      if (this.#handled) this.#current = request;
      else this.#client.done(request.requestId, request.epoch);
      if (consumer instanceof Iterator) consumer.give(request);
      else this.#call(consumer, request);
    }
  }

  #call(handler: ServerRequestHandler, request: Incoming): void {
    // A request whose handler failed counts as handled. Later requests would wait for ever otherwise.
    let result: unknown;
    let isPending: boolean;
    try {
      result = handler(request);
      isPending = typeof (result as PromiseLike<unknown> | undefined)?.then === 'function';
    } catch (error) {
      this.#client.handlerError(error, request);
      this.#finish(request);
      return;
    }
    if (!isPending) {
      this.#finish(request);
      return;
    }
    void Promise.resolve(result).then(
      () => this.#finish(request),
      (error: unknown) => {
        this.#client.handlerError(error, request);
        this.#finish(request);
      },
    );
  }

  #finish(request: Incoming): void {
    if (this.#current !== request) return;
    this.#current = undefined;
    this.#client.done(request.requestId, request.epoch);
    this.#deliver();
  }
}

/** One iteration over server requests. */
class Iterator implements AsyncIterableIterator<IncomingServerRequest> {
  readonly #wanted: () => void;
  readonly #left: () => void;
  #waiting: ((result: IteratorResult<IncomingServerRequest, undefined>) => void)[] = [];
  #ended = false;

  constructor(wanted: () => void, left: () => void) {
    this.#wanted = wanted;
    this.#left = left;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  next(): Promise<IteratorResult<IncomingServerRequest, undefined>> {
    return new Promise((resolve) => {
      if (this.#ended) {
        resolve({ done: true, value: undefined });
        return;
      }
      this.#waiting.push(resolve);
      this.#wanted();
    });
  }

  return(): Promise<IteratorResult<IncomingServerRequest, undefined>> {
    this.#left();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  give(request: IncomingServerRequest): void {
    this.#waiting.shift()?.({ done: false, value: request });
  }

  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }
}
