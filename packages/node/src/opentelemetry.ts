/**
 * Spans and durations of a client's calls for OpenTelemetry, under its conventions for remote procedure calls.
 *
 * @packageDocumentation
 */

import { type Attributes, context, type Meter, metrics, type Span, SpanKind, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api';

import type { RaftClientError } from './errors';
import { channels, type TracedCall } from './tracing';

export type { TracedCall } from './tracing';

/** What `instrument()` reports to. */
export interface InstrumentOptions {
  /** Makes the spans. Default: the global tracer provider's tracer `zraft-client`. */
  readonly tracer?: Tracer | undefined;
  /** Records the durations. Default: the global meter provider's meter `zraft-client`. */
  readonly meter?: Meter | undefined;
}

/** The names of the conventions, version 1.45.0. */
const SYSTEM_NAME = 'rpc.system.name';
const METHOD = 'rpc.method';
const STATUS_CODE = 'rpc.status_code';
const SERVER_ADDRESS = 'server.address';
const SERVER_PORT = 'server.port';
const ERROR_TYPE = 'error.type';
const DURATION = 'rpc.client.call.duration';
/** Names of this package. */
const MEMBER_ID = 'zraft.member.id';
const MAYBE_EXECUTED = 'zraft.maybe_executed';

/** The bounds of the histogram in seconds, which the conventions recommend. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

const METHODS: Readonly<Record<TracedCall['operation'], string>> = {
  command: 'zraft.Session/SubmitCommand',
  query: 'zraft.Session/SubmitQuery',
  connect: 'zraft.Session/Connect',
};

/** A call that is under way. */
interface Begun {
  readonly span: Span;
  readonly at: number;
}

/**
 * Makes a span of every command, query and `connect()` of all clients of this process, and records their durations. The parent of
 * a span is the span that is active where the call is made. Spans have neither payloads nor session ids.
 *
 * Returns the function that ends it.
 */
export function instrument(options: InstrumentOptions = {}): () => void {
  const tracer = options.tracer ?? trace.getTracer('zraft-client');
  const meter = options.meter ?? metrics.getMeter('zraft-client');
  const duration = meter.createHistogram(DURATION, {
    description: 'Measures the duration of an outgoing Remote Procedure Call (RPC).',
    unit: 's',
    advice: { explicitBucketBoundaries: BOUNDS },
  });
  const begun = new WeakMap<TracedCall, Begun>();

  const finish = (call: TracedCall): void => {
    const beginning = begun.get(call);
    if (beginning === undefined) return;
    begun.delete(call);
    const { span, at } = beginning;
    const attributes = { ...common(call), ...failure(call) };
    span.setAttributes(attributes);
    if (call.memberId !== undefined) span.setAttribute(MEMBER_ID, call.memberId);
    if (call.error !== undefined) {
      const { error } = call;
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : 'not an Error' });
      if (isOfClient(error)) span.setAttribute(MAYBE_EXECUTED, error.maybeExecuted);
    }
    duration.record((performance.now() - at) / 1000, attributes, trace.setSpan(context.active(), span));
    span.end();
  };

  const subscribers = {
    start: (call: TracedCall): void => {
      const span = tracer.startSpan(METHODS[call.operation], { kind: SpanKind.CLIENT, attributes: common(call) });
      begun.set(call, { span, at: performance.now() });
    },
    // A call that throws at once has no promise that settles.
    end: (call: TracedCall): void => {
      if (call.error !== undefined) finish(call);
    },
    asyncStart: (): void => {},
    asyncEnd: finish,
    error: (): void => {},
  };
  const all = Object.values(channels);
  for (const channel of all) channel.subscribe(subscribers);
  return () => {
    for (const channel of all) channel.unsubscribe(subscribers);
  };
}

/** Returns what is known of every call. */
function common(call: TracedCall): Attributes {
  return { [SYSTEM_NAME]: 'zraft', [METHOD]: METHODS[call.operation], ...server(call.endpoint) };
}

/** Returns the host and the port of an endpoint, or the path of a local socket. */
function server(endpoint: string | undefined): Attributes {
  if (endpoint === undefined) return {};
  const [, address, port] = /^(?:tcp|tls):\/\/(.*):(\d+)$/.exec(endpoint) ?? [];
  if (address === undefined) return { [SERVER_ADDRESS]: endpoint.replace(/^ipc:\/\//, '') };
  return { [SERVER_ADDRESS]: address.replace(/^\[(.*)\]$/, '$1'), [SERVER_PORT]: Number(port) };
}

function failure({ error }: TracedCall): Attributes {
  if (error === undefined) return {};
  return isOfClient(error) ? { [ERROR_TYPE]: error.code, [STATUS_CODE]: error.code } : { [ERROR_TYPE]: '_OTHER' };
}

/** Returns true for an error of the client, also if a bundle has another copy of its class. */
function isOfClient(error: unknown): error is RaftClientError {
  return error instanceof Error && 'maybeExecuted' in error && 'code' in error;
}
