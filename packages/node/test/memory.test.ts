/** The memory that an answer keeps alive. */

import { createRequire } from 'node:module';

import { afterAll, beforeAll, expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

import type { pool as Pool } from '../src/chunkPool';

/** The pool of the package itself: an import would load the module a second time. */
const { pool } = createRequire(import.meta.url)('../dist/chunkPool.js') as { pool: typeof Pool };

let cluster: TestCluster;
let client: RaftClient;

beforeAll(async () => {
  cluster = await TestCluster.start({ application: 'echo' });
  client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'memory' } });
  await client.connect();
});

afterAll(async () => {
  await client.disconnect();
  await cluster.stop();
});

/** Returns the bytes of the buffers that these answers refer to, each counted once. */
function behind(results: readonly Buffer[]): number {
  const buffers = new Set(results.map((result) => result.buffer));
  return [...buffers].reduce((sum, buffer) => sum + buffer.byteLength, 0);
}

test('short answers that arrive together share small buffers', async () => {
  const results = await Promise.all(Array.from({ length: 10_000 }, (_, index) => client.submitQuery(Buffer.from(`result ${index}`))));

  expect(results.map(String)).toEqual(results.map((_, index) => `result ${index}`));
  expect(behind(results)).toBeLessThan(10_000 * 64);
  expect(Math.max(...results.map((result) => result.buffer.byteLength))).toBeLessThanOrEqual(8192);
});

test('short answers that arrive one by one share small buffers', async () => {
  const results: Buffer[] = [];
  for (let index = 0; index < 500; index++) results.push(await client.submitQuery(Buffer.from(`${index}`)));

  expect(behind(results)).toBeLessThan(500 * 64 + 8192);
});

test('a long answer has its own buffer', async () => {
  const payload = Buffer.alloc(100_000, 'long');
  const [long, short] = await Promise.all([client.submitQuery(payload), client.submitQuery(Buffer.from('short'))]);

  expect(long.equals(payload)).toBe(true);
  expect(long.buffer.byteLength).toBe(100_000);
  expect(short.toString()).toBe('short');
});

test('records that nothing refers to take no new memory', async () => {
  // Earlier tests may have left less room than one record needs.
  pool.renew(0);
  const answer = await client.submitQuery(Buffer.from('answer'));
  expect(answer.buffer).toBe(pool.memory);
  const { bytes } = pool;
  // 28 bytes each, in all more than the pool has.
  for (let round = 0; round < 500; round++) await client.ping();

  expect(pool.bytes).toBe(bytes);
});

test('an answer that is kept does not change when others arrive', async () => {
  const kept = await Promise.all(Array.from({ length: 300 }, (_, index) => client.submitQuery(Buffer.alloc(40, index % 251))));
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 300 }, () => client.submitQuery(Buffer.alloc(40, 255))));
  }

  kept.forEach((result, index) => expect(result.equals(Buffer.alloc(40, index % 251))).toBe(true));
});
