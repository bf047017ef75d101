import { expect, test } from 'vitest';

import { bytes, next, newClient, startCluster } from './support/fixtures';

test('a client connects, gets an answer and disconnects', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  expect(client.state).toBe('Disconnected');
  expect(client.sessionId).toBeUndefined();

  await client.connect();
  expect(client.state).toBe('Connected');
  expect(client.memberId).toBe('node-1');
  expect(client.sessionId).toMatch(/^[0-9a-f-]{36}$/);

  expect(await client.submitCommand(bytes('command'))).toEqual(bytes('command'));
  expect(await client.submitQuery(bytes('query'))).toEqual(bytes('query'));

  await client.disconnect();
  expect(client.state).toBe('Disconnected');
  expect(client.sessionId).toBeUndefined();
});

test('connected and disconnected have the session, the member and the reason', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  const connected = next(client, 'connected');
  await client.connect();
  const event = await connected;
  expect(event).toMatchObject({
    type: 'connected',
    memberId: 'node-1',
    endpoint: cluster.clusterMembers.get(event.memberId),
    resumed: false,
  });
  expect(event.sessionId).toBe(client.sessionId);

  const disconnected = next(client, 'disconnected');
  await client.disconnect();
  expect(await disconnected).toMatchObject({ type: 'disconnected', reason: 'closed', memberId: 'node-1' });
});

test('disconnect ends the session on the server', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  await client.connect();
  expect(await cluster.sessions()).toHaveLength(1);
  await client.disconnect();
  await expect.poll(() => cluster.sessions()).toHaveLength(0);
});

test('a client that was disconnected can connect again, in another session', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  await client.connect();
  const first = client.sessionId;
  await client.disconnect();
  await client.connect();
  expect(client.sessionId).not.toBe(first);
  expect(await client.submitCommand(bytes('again'))).toEqual(bytes('again'));
});
