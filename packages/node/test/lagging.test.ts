/** What is kept for an event loop that does not listen is bounded. */

import { expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

test('events of long messages that nobody takes give way as well', async () => {
  await using cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
  await using client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'lagging' } });
  let received = 0;
  let lost = 0;
  await client.connect();
  client.on('messageReceived', () => received++);
  client.on('lagged', ({ count }) => (lost += count));
  // 160 MB while the event loop stands still, of events about half.
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

test('events that nobody takes for long give way and are counted; answers are not', async () => {
  await using cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
  await using client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'lagging' } });
  let received = 0;
  let lost = 0;
  await client.connect();
  client.on('messageReceived', () => received++);
  client.on('lagged', ({ count }) => (lost += count));
  const count = 80_000;
  const answers = Array.from({ length: count }, () => client.submitQuery(Buffer.from('?')));
  // The event loop stands still until all is answered.
  while (client.stats().answered < count);

  expect((await Promise.all(answers)).every((answer) => answer.toString() === '?')).toBe(true);
  // Another answer comes after the events that were kept back.
  await client.submitQuery(Buffer.from('!'));
  expect(lost).toBeGreaterThan(0);
  expect(received).toBeGreaterThan(0);
  expect(received + lost).toBeGreaterThanOrEqual(count);
});
