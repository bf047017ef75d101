// OpenTelemetry: a span of every command, query and connect(), below the span of the work that made it.
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { RaftClient } from 'zraft-client';
import { get, set } from 'zraft-client/kv';
import { instrument } from 'zraft-client/opentelemetry';
import { TestCluster } from 'zraft-client/testing';

// Your program exports to a collector; this one keeps the spans and prints them. `@opentelemetry/sdk-node` sets up the same.
const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const stopInstrumenting = instrument();

const cluster = await TestCluster.start({ members: 3 });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'example' } });

await trace.getTracer('example').startActiveSpan('handle an order', async (span) => {
  await client.connect();
  await client.submitCommand(set('order', 'paid'));
  await client.submitQuery(get('order'));
  await client.submitCommand(set('order', 'sent'), { signal: AbortSignal.abort() }).catch(() => {});
  span.end();
});

const spans = exporter.getFinishedSpans();
for (const { name, attributes, parentSpanContext } of spans) {
  const parent = spans.find((span) => span.spanContext().spanId === parentSpanContext?.spanId)?.name ?? 'none';
  const { 'zraft.member.id': member, 'error.type': error = 'none' } = attributes;
  console.log(`${name}: parent ${parent}${member === undefined ? '' : `, member ${member}, error ${error}`}`);
}
stopInstrumenting();
await client.disconnect();
await cluster.stop();
