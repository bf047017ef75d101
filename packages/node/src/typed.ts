/** A client whose payloads are values of the application. */

import { RaftClient } from './client';
import type { Codec, Decoder, Encoder } from './codec';
import type { ClientConfig } from './config';
import { ProtocolError, ValidationError } from './errors';
import type { ConnectOptions, DisconnectOptions, RequestOptions } from './options';
import type { CommandOutcomes } from './outcomes';
import type { IncomingServerRequest } from './serverRequests';

/** Any codec. */
// Commands and queries are contravariant: a codec of some commands is not one of all.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyCodec = Codec<any, unknown, any>;

/** The commands of a codec. */
export type CommandOf<C extends AnyCodec> = C['command'] extends Encoder<infer Command> ? Command : never;
/** The answers of a codec. */
export type AnswerOf<C extends AnyCodec> = C['answer'] extends Decoder<infer Answer> ? Answer : never;
/** The queries of a codec. */
export type QueryOf<C extends AnyCodec> = C['query'] extends Encoder<infer Query> ? Query : never;
/** The results of a codec's queries. */
export type ResultOf<C extends AnyCodec> = C['result'] extends Decoder<infer Result> ? Result : never;
/** The payloads of a codec's server requests; never if it has none. */
export type NoticeOf<C extends AnyCodec> = NonNullable<C['serverRequest']> extends Decoder<infer Notice> ? Notice : never;

/** A server request whose payload is decoded. */
export type TypedServerRequest<T> = Pick<IncomingServerRequest, 'type' | 'requestId' | 'createdAt' | 'acknowledge'> & {
  readonly payload: T;
};

/** A client without the methods that send bytes. */
export type Untyped = Omit<RaftClient, 'submitCommand' | 'submitCommands' | 'submitQuery' | 'onServerRequest' | 'serverRequests'>;

/**
 * A client that sends and receives values in place of bytes, so that it cannot send what the server cannot decode.
 *
 * A value that the codec refuses throws a `ValidationError` at the call, and nothing is sent. Bytes that it cannot decode reject with a
 * `ProtocolError`, whose `maybeExecuted` is true for a command: it was executed. `cause` has what the codec threw.
 */
export class TypedClient<C extends AnyCodec> {
  readonly #client: RaftClient;
  readonly #codec: C;

  /** Makes a client with these settings and opens nothing. Throws a `ValidationError` that names the setting at fault. */
  constructor(config: ClientConfig, codec: C) {
    const query = codec.livenessQuery as QueryOf<C> | undefined;
    const payload = query === undefined ? undefined : encode('the liveness query', codec.query, query);
    this.#client = new RaftClient(payload === undefined ? config : { livenessQuery: { payload }, ...config });
    this.#codec = codec;
  }

  /** The client without the methods that send bytes: its state, events and counters. */
  get client(): Untyped {
    return this.#client;
  }

  /** As `RaftClient.connect()`. */
  connect(options?: ConnectOptions): Promise<void> {
    return this.#client.connect(options);
  }

  /** As `RaftClient.submitCommand()`. */
  submitCommand(command: CommandOf<C>, options?: RequestOptions): Promise<AnswerOf<C>> {
    const payload = encode('the command', this.#codec.command, command);
    return decoded(this.#client.submitCommand(payload, options), (answer) => this.#answer(answer));
  }

  /** As `RaftClient.submitCommands()`. */
  submitCommands(commands: Iterable<CommandOf<C>>, options?: RequestOptions): CommandOutcomes<AnswerOf<C>> {
    const payloads = Array.from(commands, (command, index) => encode(`command ${index}`, this.#codec.command, command));
    return this.#client.submitCommands(payloads, options).map((answer) => this.#answer(answer));
  }

  /** As `RaftClient.submitQuery()`. */
  submitQuery(query: QueryOf<C>, options?: RequestOptions): Promise<ResultOf<C>> {
    const payload = encode('the query', this.#codec.query, query);
    const decoder = this.#codec.result as Decoder<ResultOf<C>>;
    return decoded(this.#client.submitQuery(payload, options), (result) => decode('the result of the query', false, decoder, result));
  }

  /** As `RaftClient.ready()`. */
  ready(): Promise<void> {
    return this.#client.ready();
  }

  /** As `RaftClient.onServerRequest()`. The event `handlerError` reports a payload that cannot be decoded. */
  onServerRequest(handler: (request: TypedServerRequest<NoticeOf<C>>) => unknown): () => void {
    return this.#client.onServerRequest((request) => handler(this.#notice(request)));
  }

  /** As `RaftClient.serverRequests`. An iteration ends with a `ProtocolError` at a payload that cannot be decoded. */
  get serverRequests(): AsyncIterable<TypedServerRequest<NoticeOf<C>>> {
    const requests = this.#client.serverRequests;
    const notice = (request: IncomingServerRequest): TypedServerRequest<NoticeOf<C>> => this.#notice(request);
    return {
      async *[Symbol.asyncIterator]() {
        for await (const request of requests) yield notice(request);
      },
    };
  }

  /** As `RaftClient.disconnect()`. */
  disconnect(options?: DisconnectOptions): Promise<void> {
    return this.#client.disconnect(options);
  }

  /** As `disconnect()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  #answer(answer: Buffer): AnswerOf<C> {
    return decode('the answer to the command', true, this.#codec.answer as Decoder<AnswerOf<C>>, answer);
  }

  #notice(request: IncomingServerRequest): TypedServerRequest<NoticeOf<C>> {
    const { serverRequest } = this.#codec;
    const { type, requestId, createdAt, payload } = request;
    const decoder: Decoder<unknown> = serverRequest ?? { decode: () => refuse('the codec has no server requests') };
    const value = decode(`server request ${requestId}`, false, decoder, payload) as NoticeOf<C>;
    return { type, requestId, createdAt, payload: value, acknowledge: () => request.acknowledge() };
  }
}

/** Awaits bytes, so that the stack of an error shows the code that awaits the value. */
async function decoded<T>(bytes: Promise<Buffer>, convert: (bytes: Buffer) => T): Promise<T> {
  return convert(await bytes);
}

function encode<T>(what: string, encoder: Encoder<T>, value: T): Uint8Array {
  try {
    return encoder.encode(value);
  } catch (error) {
    throw new ValidationError(`${what} cannot be encoded: ${messageOf(error)}`, { cause: error });
  }
}

function decode<T>(what: string, maybeExecuted: boolean, decoder: Decoder<T>, bytes: Buffer): T {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    const message = `${what} cannot be decoded: ${messageOf(error)}`;
    throw new ProtocolError({ code: 'PROTOCOL', message, maybeExecuted }, { cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function refuse(why: string): never {
  throw new Error(why);
}
