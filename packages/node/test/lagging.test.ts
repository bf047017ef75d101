/** What is kept for an event loop that does not listen is bounded. */

import { expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

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
