/** Batches of operations on their way to the native half. */

import { HEADER, MAX_INLINE } from './layout';
import { copyTo, plain } from './payloads';

/**
 * A batch is pushed once it has this many bytes: the native half works on it while the callers of later answers continue, and
 * takes all batches that wait together. A payload may keep its whole batch alive until it is answered, too. Each push has a
 * fixed cost, so a batch is not smaller.
 */
const FULL = 6 * 1024;
/** Up to this many bytes a loop copies faster than `copyTo()`, by measurement. */
const SHORT = 48;

/** Empty batches kept for reuse by all clients together: 80 KiB in all. A batch is empty again as soon as it was pushed. */
const SPARE = 8;
const spare: Batch[] = [];

/** Entries on their way to the native half. */
export class Batch {
  /** Returns an empty batch. */
  static take(): Batch {
    return spare.pop() ?? new Batch();
  }

  /** Empties the batch and keeps it for reuse. The caller must not use it again. */
  release(): void {
    this.length = 0;
    if (spare.length < SPARE) spare.push(this);
  }

  readonly bytes: Buffer;
  readonly #words: Int32Array;
  length = 0;

  /** Throws if there is no memory for this many bytes. */
  constructor(size = FULL + HEADER + MAX_INLINE) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.#words = new Int32Array(this.bytes.buffer);
  }

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

  /** Copies a payload to the place of the next entry's bytes. Adds no entry yet, so a failure changes nothing. */
  copy(payload: Uint8Array, length: number): void {
    const { bytes } = this;
    const at = this.length + HEADER;
    if (length <= SHORT) {
      for (let index = 0; index < length; index++) bytes[at + index] = payload[index] as number;
    } else {
      try {
        copyTo(bytes, payload, at);
      } catch {
        // Another thread has grown the shared memory since its length was read.
        copyTo(bytes, plain(payload, length), at);
      }
    }
  }

  /** Adds the entry of the payload that was copied. */
  addCopied(operation: number, id: number, argument: number, length: number, generation: number): void {
    this.add(operation, id, argument, length, generation);
    this.length = (this.length + length + 3) & ~3;
  }
}
