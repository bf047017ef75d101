import { expect, test } from 'vitest';

import { bytes, collect, connectedClient, next, startCluster } from './support/fixtures';

test('a client reconnects after it lost its connection and continues the session', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const session = client.sessionId;
  const disconnected = next(client, 'disconnected');
  const reconnecting = next(client, 'reconnecting');
  const connected = next(client, 'connected');
  await cluster.cutConnections();
  expect(await disconnected).toMatchObject({ reason: 'connectionLost', memberId: 'node-1' });
  expect(await reconnecting).toMatchObject({ attempt: 1, memberId: 'node-1' });
  expect(await connected).toMatchObject({ resumed: true, memberId: 'node-1' });
  expect(client.sessionId).toBe(session);
  expect(await client.submitCommand(bytes('after'))).toEqual(bytes('after'));
  expect(client.stats().reconnects).toBe(1);
});

test('commands pending when the connection is lost are preserved, answered and executed once', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 50 });
  const client = await connectedClient(cluster, { resendInterval: 200 });
  await cluster.dropMessages('ClientResponse');
  const payloads = Array.from({ length: 50 }, (_, index) => bytes(`pending ${index}`));
  const pending = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  await cluster.journalReached(25);
  const connected = next(client, 'connected');
  await cluster.cutConnections();
  await connected;
  await cluster.deliverAll();
  expect(await pending).toEqual(payloads);
  expect(await cluster.executed()).toBe(50);
});

test('queries pending when the connection is lost are preserved and answered', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { resendInterval: 200 });
  await cluster.dropMessages('QueryResponse');
  const payloads = Array.from({ length: 20 }, (_, index) => bytes(`pending ${index}`));
  const pending = Promise.all(payloads.map((payload) => client.submitQuery(payload)));
  const connected = next(client, 'connected');
  await cluster.cutConnections();
  await connected;
  await cluster.deliverAll();
  expect(await pending).toEqual(payloads);
});

test('requests submitted while reconnecting are queued and sent in order when the session continues', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { reconnectBackoff: { initial: 10, max: 50 } });
  const states = collect(client, 'stateChange');
  const lost = next(client, 'disconnected');
  await cluster.kill('node-1');
  await lost;
  expect(client.state).toBe('ConnectingExistingSession');
  const payloads = Array.from({ length: 20 }, (_, index) => bytes(`queued ${index}`));
  const queued = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  await cluster.restart('node-1');
  expect(await queued).toEqual(payloads);
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(payloads.map(String));
  expect(states.map(({ oldState, newState }) => [oldState, newState])).toEqual([
    ['Connected', 'ConnectingExistingSession'],
    ['ConnectingExistingSession', 'Connected'],
  ]);
});
