/**
 * How long requests took, in milliseconds, since the client was made; undefined before the first answer.
 *
 * A latency counts from the moment at which the client queues the request until its answer was read, so it includes resends and
 * changes of the leader. Requests that failed are not counted here. Values are exact to 1 % or 1 µs, whichever is more.
 */
export interface Latency {
  /** How many requests were answered. */
  readonly count: number;
  /** The shortest time. */
  readonly min: number | undefined;
  /** The mean of the times. */
  readonly mean: number | undefined;
  /** The longest time; one above an hour counts as an hour. */
  readonly max: number | undefined;
  /** The time that half of the requests did not exceed. */
  readonly p50: number | undefined;
  /** The time that 90 % of the requests did not exceed. */
  readonly p90: number | undefined;
  /** The time that 99 % of the requests did not exceed. */
  readonly p99: number | undefined;
  /** The time that 99.9 % of the requests did not exceed. */
  readonly p999: number | undefined;
}

/** The counters and latencies of a client since it was made. */
export interface Stats {
  /** Requests sent for the first time. */
  readonly sent: number;
  /** Copies of requests sent after the first. */
  readonly resent: number;
  /** Requests answered. */
  readonly answered: number;
  /** Commands that failed with an unknown outcome. */
  readonly unknown: number;
  /** Answers that belonged to no pending request, such as the answer to a second copy. */
  readonly unmatched: number;
  /** Requests that ended without being executed. */
  readonly notExecuted: number;
  /** Requests that were sent and whose callers wait; detached commands are not counted. */
  readonly inFlight: number;
  /** Commands that are still tracked after their promise was rejected. */
  readonly detached: number;
  /** Requests that were submitted and not sent yet. */
  readonly queued: number;
  /** Payload bytes of all requests that the client holds. */
  readonly queuedBytes: number;
  /** How often the client lost its connection and looked for another. */
  readonly reconnects: number;
  /** CreateSessions of attempts that ended without an answer; each may have left a session that no client knows. */
  readonly orphans: number;
  /** The smoothed answer time in milliseconds; undefined before the first answer. */
  readonly smoothedAnswer: number | undefined;
  /** Server requests delivered. */
  readonly serverRequests: number;
  /** Server requests that arrived more than once. */
  readonly duplicates: number;
  /** Messages that could not be decoded or were too long. */
  readonly protocolErrors: number;
  /** Bytes received. */
  readonly bytesIn: number;
  /** Bytes sent. */
  readonly bytesOut: number;
  /** How long commands and queries took. */
  readonly latency: { readonly commands: Latency; readonly queries: Latency };
}
