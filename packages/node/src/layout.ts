/**
 * The layout of batches (to the native half) and records (from it). `native/src/layout.rs` describes it and has the same
 * items in the same order; a test compares the two. Numbers are in the machine's own byte order.
 */

/** Bytes of the header of an entry: five words of 32 bits. */
export const HEADER = 20;

/** Added to an operation or a kind whose bytes are outside the batch or chunk. */
export const OUT_OF_LINE = 256;

/** A timeout that never passes. */
export const NO_TIMEOUT = 0xffff_ffff;

/** The default timeout of the operation. */
export const DEFAULT_TIMEOUT = 0xffff_fffe;

/** The greatest length of a chunk of records, except for a chunk of one record with a long head. Small: an answer that is kept keeps its chunk alive. */
export const CHUNK = 8 * 1024;

/** Longer bytes travel outside the batch or chunk, which they would keep alive. Half a chunk. */
export const MAX_INLINE = 4 * 1024;

/** `take()` returns two lengths in one number: a chunk's, plus this factor times the next chunk's. */
export const NEXT = 2 ** 32;

/** What JavaScript asks of the native half. */
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
  Members = 12,
}

/** What a record of the native half reports. */
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
  Parked = 12,
  Crashed = 13,
}

/** What happened to a batch that was pushed. */
export const enum Pushed {
  /** The driver runs and has the batch. */
  Running = 0,
  /** The driver is parked. The batch is settled and its records can be taken. */
  Settled = 1,
  /** The driver has ended, and nothing was taken. */
  Ended = 2,
}
