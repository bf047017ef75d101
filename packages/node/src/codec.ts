/** Codecs: how the values of an application become payloads. */

import { ValidationError } from './errors';

/** Makes payloads of values. It throws for a value that the server could not decode. */
export interface Encoder<T> {
  /** Returns the payload of a value. */
  encode(value: T): Uint8Array;
}

/** Makes values of payloads. It throws for bytes that are not such a value. */
export interface Decoder<T> {
  /** Returns the value of a payload. */
  decode(bytes: Buffer): T;
}

/** Both directions of one kind of payload. */
export interface PayloadCodec<T> extends Encoder<T>, Decoder<T> {}

/** What a client of an application sends and receives. */
export interface Codec<Command = never, Answer = unknown, Query = never, Result = unknown, Notice = unknown> {
  /** Commands, and the answers to them. */
  readonly command: Encoder<Command>;
  readonly answer: Decoder<Answer>;
  /** Queries, and their results. */
  readonly query: Encoder<Query>;
  readonly result: Decoder<Result>;
  /** A query that the application answers cheaply: the `livenessQuery` of a `TypedClient` that is given no other. */
  readonly livenessQuery?: Query | undefined;
  /** Server requests, if the application makes any. */
  readonly serverRequest?: Decoder<Notice> | undefined;
}

/**
 * Returns the codec of values as JSON text in UTF-8. `check` is called with each value before it is encoded and after it was
 * decoded, and returns it or throws: the `parse` of a schema library, for example. Without it, the codec trusts both sides.
 */
export function json<T>(check: (value: unknown) => T = (value) => value as T): PayloadCodec<T> {
  return {
    encode(value) {
      const text = JSON.stringify(check(value)) as string | undefined;
      if (text === undefined) throw new ValidationError(`JSON has no form for a value of type ${typeof value}`);
      return Buffer.from(text);
    },
    decode: (bytes) => check(JSON.parse(bytes.toString())),
  };
}
