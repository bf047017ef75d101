import { expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';

import { bytes, collect, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

test('disconnect waits for submitted requests', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 50 });
  const client = await connectedClient(cluster);
  const payloads = Array.from({ length: 100 }, (_, index) => bytes(`${index}`));
  const answers = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  await client.disconnect();
  expect(await answers).toEqual(payloads);
});

test('disconnect waits through a reconnect', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 50 });
  const client = await connectedClient(cluster, { resendInterval: 100 });
  const answer = client.submitCommand(bytes('x'));
  await cluster.cutConnections();
  await client.disconnect();
  expect(await answer).toEqual(bytes('x'));
});

test('disconnect may be called repeatedly, before connect and after', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  await client.disconnect();
  await client.connect();
  const closed = collect(client, 'disconnected');
  await Promise.all([client.disconnect(), client.disconnect({ timeout: 0 }), client[Symbol.asyncDispose]()]);
  await client.disconnect();
  expect(closed).toHaveLength(1);
});

test('disconnect resolves even if no member is reachable', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.kill('node-1');
  const failure = failureOf(client.submitCommand(bytes('x')));
  await client.disconnect({ timeout: 50 });
  expect(await failure).toMatchObject({ code: 'CLOSED' });
  expect(client.state).toBe('Disconnected');
});

test('a disconnect without a timeout ends when all requests are answered', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 20 });
  const client = await connectedClient(cluster);
  const answer = client.submitCommand(bytes('x'));
  await client.disconnect({ timeout: Infinity });
  expect(await answer).toEqual(bytes('x'));
});

test('connect during disconnect waits for its end, then opens a new session', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 20 });
  const client = await connectedClient(cluster);
  const first = client.sessionId;
  const answer = client.submitCommand(bytes('x'));
  const closing = client.disconnect();
  await client.connect();
  await closing;
  expect(await answer).toEqual(bytes('x'));
  expect(client.state).toBe('Connected');
  expect(client.sessionId).not.toBe(first);
});

test('leaving an `await using` scope disconnects', async () => {
  const cluster = await startCluster();
  let outside: RaftClient;
  {
    await using client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'test' } });
    await client.connect();
    outside = client;
  }
  expect(outside.state).toBe('Disconnected');
  await expect.poll(() => cluster.sessions()).toHaveLength(0);
});
