/** Figures of a client since it was made. */
export interface Stats {
  /** Requests sent for the first time. */
  readonly sent: number;
  /** Requests sent again. */
  readonly resent: number;
  /** Requests answered. */
  readonly answered: number;
  /** Commands whose outcome was told as unknown. */
  readonly unknown: number;
  /** Answers to no request that waits. */
  readonly unmatched: number;
  /** Requests that ended without being executed. */
  readonly notExecuted: number;
  /** Requests on the wire, unanswered, those detached not counted. */
  readonly inFlight: number;
  /** Commands followed after their caller was told. */
  readonly detached: number;
  /** Requests that wait to be sent. */
  readonly queued: number;
  /** Bytes of the payloads held. */
  readonly queuedBytes: number;
  /** Connections lost and sought anew. */
  readonly reconnects: number;
  /** The smoothed time to an answer, in milliseconds; undefined before the first. */
  readonly smoothedAnswer: number | undefined;
  /** Server requests delivered. */
  readonly serverRequests: number;
  /** Server requests seen again. */
  readonly duplicates: number;
  /** Messages that could not be decoded, or were too long. */
  readonly protocolErrors: number;
  /** Bytes received. */
  readonly bytesIn: number;
  /** Bytes sent. */
  readonly bytesOut: number;
}
