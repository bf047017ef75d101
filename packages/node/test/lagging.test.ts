/** The events kept for a blocked event loop are bounded. */

import { expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

test('events of long messages that are not taken are dropped and counted', async () => {
  await using cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
  await using client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'lagging' } });
  let received = 0;
  let lost = 0;
  await client.connect();
  client.on('messageReceived', () => received++);
  client.on('lagged', ({ count }) => (lost += count));
  // 160 MB while the event loop is blocked, about half of it events.
  const payload = Buffer.alloc(32 << 10, 7);
  const answers: Promise<Buffer>[] = [];
  const before = client.stats().answered;
  for (let round = 1; round <= 10; round++) {
    for (let n = 0; n < 500; n++) answers.push(client.submitQuery(payload));
    while (client.stats().answered - before < 500 * round);
  }

  expect((await Promise.all(answers)).every((answer) => answer.length === payload.length)).toBe(true);
  await client.submitQuery(Buffer.from('!'));
  expect(lost).toBeGreaterThan(0);
  expect(received + lost).toBeGreaterThanOrEqual(5_000);
});

test('events that are not taken for long are dropped and counted; answers are not dropped', async () => {
  await using cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
  await using client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'lagging' } });
  let received = 0;
  let lost = 0;
  await client.connect();
  client.on('messageReceived', () => received++);
  client.on('lagged', ({ count }) => (lost += count));
  const count = 80_000;
  const answers = Array.from({ length: count }, () => client.submitQuery(Buffer.from('?')));
  // The event loop is blocked until everything is answered.
  while (client.stats().answered < count);

  expect((await Promise.all(answers)).every((answer) => answer.toString() === '?')).toBe(true);
  // The next answer comes after the events that were held back.
  await client.submitQuery(Buffer.from('!'));
  expect(lost).toBeGreaterThan(0);
  expect(received).toBeGreaterThan(0);
  expect(received + lost).toBeGreaterThanOrEqual(count);
});
