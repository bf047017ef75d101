import { expect, test } from 'vitest';

import { bytes, connectedClient, startCluster } from './support/fixtures';

test('stats have the latency of each answered command and query in milliseconds', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const started = performance.now();
  await Promise.all(Array.from({ length: 100 }, (_, number) => client.submitCommand(bytes(`entry ${number}`))));
  await client.submitQuery(bytes('query'));
  const passed = performance.now() - started;

  const { commands, queries } = client.stats().latency;
  expect([commands.count, queries.count]).toEqual([100, 1]);
  const { min = NaN, p50 = NaN, p90 = NaN, p99 = NaN, p999 = NaN, max = NaN, mean = NaN } = commands;
  const sorted = [min, p50, p90, p99, p999, max];
  expect([...sorted].sort((a, b) => a - b)).toEqual(sorted);
  expect(min).toBeGreaterThan(0);
  expect(mean).toBeGreaterThanOrEqual(min * 0.99);
  expect(mean).toBeLessThanOrEqual(max * 1.01);
  // A value is exact to 1 %.
  expect(max).toBeLessThanOrEqual(passed * 1.01);
  expect(queries.p50).toBe(queries.max);
});
