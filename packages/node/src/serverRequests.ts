/** What the server asks of the application, and who answers. */

import { ValidationError } from './errors';
import type { RequestId } from './ids';
import type { ServerRequest } from './messages';
import { Masked } from './secrets';

/** A server request as the application gets it. */
export interface IncomingServerRequest extends ServerRequest {
  /**
   * Says that the request was handled: it is acknowledged, and the next one may come. Does nothing where delivery is
   * acknowledged, and where a handler's promise says it.
   */
  acknowledge(): void;
}

/** Handles server requests, one after the other in their order. Of what it returns, only a promise matters. */
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

  /** @internal Which session of the client it belongs to. */
  get epoch(): number {
    return this.#epoch;
  }

  acknowledge(): void {
    this.#acknowledge(this);
  }
}

/** What this part needs of the client. */
interface Client {
  /** Somebody takes server requests, or nobody does. */
  consume(on: boolean): void;
  /** The request may be acknowledged. */
  done(requestId: RequestId, epoch: number): void;
  handlerError(error: unknown, request: ServerRequest): void;
}

/** Brings server requests to their one consumer. */
export class ServerRequests implements AsyncIterable<IncomingServerRequest> {
  readonly #client: Client;
  readonly #handled: boolean;
  #epoch = 0;
  /** Came from the native half, and was not delivered. */
  #queue: Incoming[] = [];
  /** Delivered, and not handled yet, where that counts. */
  #current: Incoming | undefined;
  #consumer: ServerRequestHandler | Iterator | undefined;

  constructor(client: Client, handled: boolean) {
    this.#client = client;
    this.#handled = handled;
  }

  /** Registers the handler; the result takes it away again. */
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
      throw new ValidationError('server requests have a consumer already: one handler, or one iteration, at a time');
    }
    this.#consumer = consumer;
    this.#client.consume(true);
  }

  #leave(consumer: ServerRequestHandler | Iterator): void {
    if (this.#consumer !== consumer) return;
    this.#consumer = undefined;
    this.#client.consume(false);
    if (consumer instanceof Iterator && this.#current !== undefined) {
      // Taken and not handled: the next consumer gets it again.
      this.#queue.unshift(this.#current);
      this.#current = undefined;
    }
  }

  /** A new session: what is left of the old one is void. */
  begin(epoch: number): void {
    this.#epoch = epoch;
    this.#queue = [];
    this.#current = undefined;
  }

  push(requestId: bigint, createdAt: number, payload: Buffer, epoch: number): void {
    const acknowledge = (request: Incoming): void => this.#finish(request);
    this.#queue.push(new Incoming(requestId as RequestId, payload, new Date(createdAt), epoch, acknowledge));
    this.#deliver();
  }

  /** The client ended: iterations end, a handler stays for the next session. */
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
    // A handler that fails has handled it all the same: what comes after it would wait for ever otherwise.
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
    if (request.epoch === this.#epoch) this.#client.done(request.requestId, request.epoch);
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
