/**
 * How batches (to the native half) and records (from it) are laid out: the other side, and the description, is
 * `packages/node/native/src/layout.rs`. Numbers are in the machine's own byte order.
 */

import { plain } from './payloads';

/** Bytes of the header of an entry: five words. */
export const HEADER = 20;
/** Added to an operation or a kind whose bytes are not in the batch or the chunk. */
export const BESIDE = 256;
/** A timeout that never comes. */
export const NEVER = 0xffff_ffff;
/** The timeout that is usual for what is asked. */
export const USUAL = 0xffff_fffe;

/** What is asked of the native half. */
export const enum Operation {
  Command = 1,
  Query = 2,
  Cancel = 3,
  Connect = 4,
  CancelConnect = 5,
  Disconnect = 6,
  Ping = 7,
  Ready = 8,
  Consume = 9,
  ServerRequestDone = 10,
  Observe = 11,
}

/** What the native half tells. */
export const enum Kind {
  Answered = 1,
  Failed = 2,
  Detached = 3,
  LateAnswer = 4,
  LateFailure = 5,
  CallDone = 6,
  CallFailed = 7,
  Pong = 8,
  ServerRequest = 9,
  Epoch = 10,
  Event = 11,
  Rests = 12,
  Broke = 13,
}

/** What became of a batch that was handed over. */
export const enum Pushed {
  /** The driver has it. */
  Runs = 0,
  /** The driver rests, and has settled it. */
  Settled = 1,
  /** There is no driver any more. */
  Gone = 2,
}

/** By what the length of the next chunk is multiplied in what take() gives. */
export const NEXT = 2 ** 32;

/**
 * A batch is handed over when this much is in it. A payload in it may keep all of it alive until it is answered. What is
 * handed over early is on its way while the rest is made; each time costs something, though.
 */
const FULL = 12 * 1024;
/** Longer payloads go beside. */
export const MAX_INLINE = 4 * 1024;
/** Payloads up to this length are copied byte by byte, which is quicker. */
const SHORT = 48;

/** So many emptied batches are kept, for all clients together. */
const SPARE = 8;
const spare: Batch[] = [];

/** Entries on their way to the native half. */
export class Batch {
  /** An empty one. */
  static take(): Batch {
    return spare.pop() ?? new Batch();
  }

  /** Nobody uses it any more. */
  release(): void {
    this.length = 0;
    if (spare.length < SPARE) spare.push(this);
  }

  readonly bytes: Buffer = Buffer.allocUnsafeSlow(FULL + HEADER + MAX_INLINE);
  readonly #words: Int32Array = new Int32Array(this.bytes.buffer);
  length = 0;

  get isFull(): boolean {
    return this.length >= FULL;
  }

  /** Adds an entry without bytes. */
  add(operation: number, id: number, argument: number, length = 0, generation = 0): void {
    const at = this.length >> 2;
    const words = this.#words;
    words[at] = operation;
    words[at + 1] = id;
    words[at + 2] = argument;
    words[at + 3] = length;
    words[at + 4] = generation;
    this.length += HEADER;
  }

  /** Copies a payload to where that of the next entry goes. Nothing is added yet, so a failure changes nothing. */
  copy(payload: Uint8Array, length: number): void {
    const { bytes } = this;
    const at = this.length + HEADER;
    if (length <= SHORT) {
      for (let index = 0; index < length; index++) bytes[at + index] = payload[index] as number;
    } else {
      try {
        bytes.set(payload, at);
      } catch {
        // Another thread made shared memory longer meanwhile.
        bytes.set(plain(payload, length), at);
      }
    }
  }

  /** Adds an entry with the payload that was copied. */
  addCopied(operation: number, id: number, argument: number, length: number, generation: number): void {
    this.add(operation, id, argument, length, generation);
    this.length = (this.length + length + 3) & ~3;
  }
}

/** Chunks of records are no longer than this, but for a single record with a long head. */
const CHUNK = 8 * 1024;

/**
 * Where records are put, for all clients of a thread. Results are parts of it, packed one after the other, so that a
 * result that is kept keeps little else alive.
 */
class Pool {
  bytes: Buffer = Buffer.allocUnsafeSlow(CHUNK);
  /** The same memory: asking a Buffer for it takes longer than making one of its parts. */
  memory: ArrayBuffer = this.bytes.buffer as ArrayBuffer;
  words: Int32Array = new Int32Array(this.memory);
  /** The next free place; a multiple of four. */
  at = 0;

  /** How much there is room for. */
  get room(): number {
    return this.memory.byteLength - this.at;
  }

  /** Makes room for a chunk that did not fit. */
  renew(length: number): void {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK, (length + 3) & ~3));
    this.memory = this.bytes.buffer as ArrayBuffer;
    this.words = new Int32Array(this.memory);
    this.at = 0;
  }
}

export const pool: Pool = new Pool();

interface Parts {
  new (memory: ArrayBuffer, from: number, length: number): Buffer;
  readonly prototype: unknown;
}

const Part = (Buffer as unknown as { readonly [Symbol.species]?: Parts })[Symbol.species];

/**
 * A part of memory as a Buffer. The class by which Buffers make parts of themselves, where it is what it has always been,
 * takes half the time of their methods.
 */
export const part: (memory: ArrayBuffer, from: number, length: number) => Buffer =
  Part !== undefined && Part.prototype === Buffer.prototype
    ? (memory, from, length) => new Part(memory, from, length)
    : (memory, from, length) => Buffer.from(memory, from, length);
