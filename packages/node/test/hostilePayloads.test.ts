/** No payload of any kind makes a request hang, leak, or get another request's answer. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import { startCluster } from './support/fixtures';

const MIB = 1024 * 1024;
const run = promisify(execFile);
/** `npm run test:million` sets the number of requests. */
const count = Number(process.env['HOSTILE_REQUESTS'] ?? 20_000);

interface Memory {
  readonly heap: number;
  readonly outside: number;
  readonly rss: number;
}

interface Result {
  readonly answered: number;
  readonly refused: number;
  readonly wrong: string[];
  readonly held: Record<string, number>;
  readonly before: Memory;
  readonly after: Memory;
  readonly seconds: number;
}

test('with hostile payloads every request gets its own answer, and nothing hangs or leaks', { timeout: 600_000 }, async () => {
  // The cluster runs in this process, so that its memory does not count as the client's.
  const cluster = await startCluster({ application: 'echo', commitDelay: 0 });
  const program = fileURLToPath(new URL('./programs/hostile.mjs', import.meta.url));
  const members = JSON.stringify(Object.fromEntries(cluster.clusterMembers));
  const { stdout } = await run(process.execPath, ['--expose-gc', program, String(count), members]);
  const { wrong, answered, refused, held, before, after, seconds } = JSON.parse(stdout) as Result;
  if (count > 20_000) console.log({ answered, refused, before, after, seconds });

  expect(wrong).toEqual([]);
  expect(answered + refused).toBeGreaterThanOrEqual(count * 1.2);
  expect(refused).toBeGreaterThan(0);
  expect(held).toEqual({ inFlight: 0, queued: 0, queuedBytes: 0, detached: 0 });
  expect(after.heap - before.heap).toBeLessThan(2 * MIB);
  expect(after.outside - before.outside).toBeLessThan(2 * MIB);
  expect(after.rss - before.rss).toBeLessThan(32 * MIB);
});
