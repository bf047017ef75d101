/** Answers that wait for the event loop, more than one chunk of them. */

import { inspect } from 'node:util';

import { expect, test } from 'vitest';
import { type RaftClient } from 'zraft-client';

import { connectedClient, startCluster } from './support/fixtures';

/** Blocks the event loop until all answers have come, which then wait in chunks of 8 KiB. */
function blockedByAnswers(client: RaftClient, count: number): Promise<Buffer>[] {
  const { answered } = client.stats();
  const answers = Array.from({ length: count }, () => client.submitQuery(Buffer.alloc(100, 1), { timeout: Infinity }));
  while (client.stats().answered - answered < count);
  return answers;
}

test('the callers of the first answers continue before later answers are settled', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 0 });
  const client = await connectedClient(cluster);
  const answers = blockedByAnswers(client, 1000);
  const isLastSettled = answers[0]?.then(() => !inspect(answers.at(-1)).includes('<pending>'));
  expect(await isLastSettled).toBe(false);
  await Promise.all(answers);
});

test('the event loop gets a turn though there are always more answers', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 0 });
  const client = await connectedClient(cluster, { requestTimeout: Infinity });
  const count = 60_000;
  let settled = 0;
  const answers = blockedByAnswers(client, count).map((answer) => answer.then(() => settled++));
  const seen: number[] = [];
  while (settled < count) {
    await new Promise(setImmediate);
    seen.push(settled);
  }
  expect(seen.some((number) => number > 0 && number < count)).toBe(true);
  await Promise.all(answers);
});
