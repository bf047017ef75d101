/** Spans and durations for OpenTelemetry, with its SDK. */

import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import {
  ATTR_ERROR_TYPE,
  ATTR_RPC_METHOD,
  ATTR_RPC_STATUS_CODE,
  ATTR_RPC_SYSTEM_NAME,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  METRIC_RPC_CLIENT_CALL_DURATION,
} from '@opentelemetry/semantic-conventions';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { instrument } from 'zraft-client/opentelemetry';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

const spans = new InMemorySpanExporter();
const tracing = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
const tracer = tracing.getTracer('test');

beforeEach(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  onTestFinished(instrument({ tracer }));
});

afterEach(() => {
  spans.reset();
  context.disable();
});

test('commands, queries and connect() are spans with the attributes of the stable conventions', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await client.submitCommand(bytes('x'));
  await client.submitQuery(bytes('x'));
  const port = Number(
    cluster.clusterMembers
      .get('node-1' as never)
      ?.split(':')
      .pop(),
  );
  const methods = ['zraft.Session/Connect', 'zraft.Session/SubmitCommand', 'zraft.Session/SubmitQuery'];
  const finished = spans.getFinishedSpans();
  expect(finished.map(({ name }) => name)).toEqual(methods);
  for (const [index, { attributes, kind, status }] of finished.entries()) {
    expect(kind).toBe(SpanKind.CLIENT);
    expect(status.code).toBe(SpanStatusCode.UNSET);
    expect(attributes).toEqual({
      [ATTR_RPC_SYSTEM_NAME]: 'zraft',
      [ATTR_RPC_METHOD]: methods[index],
      [ATTR_SERVER_ADDRESS]: '127.0.0.1',
      [ATTR_SERVER_PORT]: port,
      'zraft.member.id': 'node-1',
    });
  }
});

test('a span is the child of the span that is active where the call is made', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  await tracer.startActiveSpan('parent', async (parent) => {
    await Promise.all([client.submitCommand(bytes('x')), client.submitCommand(bytes('y'))]);
    parent.end();
  });
  const [, ...rest] = spans.getFinishedSpans();
  const parent = rest.find(({ name }) => name === 'parent');
  const children = rest.filter(({ name }) => name === 'zraft.Session/SubmitCommand');
  expect(children.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual(
    [parent, parent].map((span) => span?.spanContext().spanId),
  );
  expect(trace.getActiveSpan()).toBeUndefined();
});

test('a call that fails has the code of its error, and says if the command may have been executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  await failureOf(client.submitCommand(bytes('x'), { timeout: 20 }));
  expect(() => client.submitCommand(Buffer.alloc(0))).toThrow();
  await failureOf(newClient({ clusterMembers: { 'node-1': 'ipc:///nowhere' } }).connect({ timeout: 50 }));
  const codes = spans
    .getFinishedSpans()
    .map(({ attributes, status }) => [
      status.code,
      attributes[ATTR_ERROR_TYPE],
      attributes[ATTR_RPC_STATUS_CODE],
      attributes['zraft.maybe_executed'],
    ]);
  expect(codes).toEqual([
    [SpanStatusCode.UNSET, undefined, undefined, undefined],
    [SpanStatusCode.ERROR, 'TIMEOUT', 'TIMEOUT', true],
    [SpanStatusCode.ERROR, 'VALIDATION', 'VALIDATION', false],
    [SpanStatusCode.ERROR, 'CONNECTION', 'CONNECTION', false],
  ]);
});

test('durations are recorded in seconds, by method and error', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const metering = new MeterProvider({ readers: [reader] });
  onTestFinished(() => metering.shutdown());
  const stop = instrument({ tracer, meter: metering.getMeter('test') });
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  for (let index = 0; index < 10; index++) await client.submitCommand(bytes('x'));
  await failureOf(client.submitQuery(bytes('x'), { signal: AbortSignal.abort() }));
  stop();
  await client.submitCommand(bytes('not recorded'));
  await metering.forceFlush();
  const [metric] = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
  expect(metric?.descriptor).toMatchObject({ name: METRIC_RPC_CLIENT_CALL_DURATION, unit: 's' });
  const rows = metric?.dataPoints.map(({ attributes, value }) => [
    attributes[ATTR_RPC_METHOD],
    attributes[ATTR_ERROR_TYPE],
    (value as { count: number; sum: number }).count,
    (value as { sum: number }).sum < 15,
  ]);
  expect(rows).toEqual([
    ['zraft.Session/Connect', undefined, 1, true],
    ['zraft.Session/SubmitCommand', undefined, 10, true],
    ['zraft.Session/SubmitQuery', 'CANCELLED', 1, true],
  ]);
});
