import { expect, test } from 'vitest';

import { bytes, connectedClient, next, startCluster } from './support/fixtures';

test('the session follows the leader, and pending commands are executed once', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3, commitDelay: 20 });
  const client = await connectedClient(cluster);
  const session = client.sessionId;
  const payloads = Array.from({ length: 100 }, (_, index) => bytes(`command ${index}`));
  const pending = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  const disconnected = next(client, 'disconnected');
  const connected = next(client, 'connected');
  await cluster.stepDown('node-2');
  expect(await disconnected).toMatchObject({ reason: 'notLeader' });
  expect(await connected).toMatchObject({ resumed: true, memberId: 'node-2' });
  expect(await pending).toEqual(payloads);
  expect(await cluster.executed()).toBe(100);
  expect(client.sessionId).toBe(session);
  expect(client.memberId).toBe('node-2');
});

test('a killed leader is replaced, and no answered command is lost or executed twice', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3 });
  const client = await connectedClient(cluster, { resendInterval: 200 });
  const payloads = Array.from({ length: 200 }, (_, index) => bytes(`command ${index}`));
  const pending = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  await cluster.journalReached(50);
  await cluster.kill('node-1', 'mixed');
  expect(await pending).toEqual(payloads);
  const executed = (await cluster.journal()).map(({ payload }) => payload.toString());
  expect(new Set(executed).size).toBe(200);
  expect(executed).toHaveLength(200);
});
