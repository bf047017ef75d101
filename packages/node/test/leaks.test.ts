/** Memory does not grow with the number of requests or sessions. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestCluster } from 'zraft-client/testing';

const MIB = 1024 * 1024;
const run = promisify(execFile);

interface Memory {
  readonly heap: number;
  readonly outside: number;
  readonly rss: number;
}

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
});

afterAll(() => cluster.stop());

async function memoryOf(work: 'requests' | 'cycles'): Promise<{ before: Memory; after: Memory }> {
  const program = fileURLToPath(new URL('./programs/leaks.mjs', import.meta.url));
  const members = JSON.stringify(Object.fromEntries(cluster.clusterMembers));
  // The cluster runs in this process, so that its memory does not count as the client's.
  const { stdout } = await run(process.execPath, ['--expose-gc', program, work, members]);
  return JSON.parse(stdout) as { before: Memory; after: Memory };
}

test.each(['requests', 'cycles'] as const)('memory does not grow after many %s', { timeout: 240_000 }, async (work) => {
  const { before, after } = await memoryOf(work);

  expect(after.heap - before.heap).toBeLessThan(2 * MIB);
  expect(after.outside - before.outside).toBeLessThan(2 * MIB);
  expect(after.rss - before.rss).toBeLessThan(16 * MIB);
});
