import { expect, test } from 'vitest';
import { type IncomingServerRequest, type SessionId } from 'zraft-client';

import { bytes, collect, connectedClient, next, newClient, signal, startCluster, until } from './support/fixtures';

test('server requests are delivered in order', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const all = signal();
  const seen: IncomingServerRequest[] = [];
  client.onServerRequest((request) => {
    seen.push(request);
    if (seen.length === 200) all.resolve();
  });
  await Promise.all(Array.from({ length: 200 }, (_, index) => cluster.pushServerRequest(client.sessionId as SessionId, bytes(`${index}`))));
  await all.promise;
  expect(seen.map(({ requestId }) => requestId)).toEqual(Array.from({ length: 200 }, (_, index) => BigInt(index + 1)));
  expect(seen[0]).toMatchObject({ type: 'ServerRequest' });
  expect(seen[0]?.createdAt).toBeInstanceOf(Date);
});

test('a delivered server request is acknowledged', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  await cluster.pushServerRequest(session, bytes('one'));
  await cluster.pushServerRequest(session, bytes('two'));
  expect((await cluster.sessions())[0]?.unacknowledged).toBe(2);
  client.onServerRequest(() => {});
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
});

test('without a consumer server requests wait unacknowledged', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const received = next(client, 'serverRequestReceived');
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('waits'));
  expect((await received).request).toMatchObject({ requestId: 1n, payload: bytes('waits') });
  expect((await cluster.sessions())[0]?.unacknowledged).toBe(1);
  const delivered = signal<IncomingServerRequest>();
  client.onServerRequest(delivered.resolve);
  expect((await delivered.promise).payload).toEqual(bytes('waits'));
});

test('a repeated server request is not delivered twice', async () => {
  const cluster = await startCluster({ redeliveryInterval: 50 });
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  const seen: bigint[] = [];
  client.onServerRequest(({ requestId }) => void seen.push(requestId));
  await cluster.dropMessages('ServerRequestAck');
  await cluster.pushServerRequest(session, bytes('one'));
  await until(() => client.stats().duplicates > 0);
  await cluster.deliverAll();
  await cluster.pushServerRequest(session, bytes('two'));
  await until(() => seen.length === 2);
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
  expect(seen).toEqual([1n, 2n]);
});

test('the order of server requests continues after a reconnect', async () => {
  const cluster = await startCluster({ redeliveryInterval: 50 });
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  const seen: bigint[] = [];
  client.onServerRequest(({ requestId }) => void seen.push(requestId));
  await cluster.pushServerRequest(session, bytes('one'));
  await until(() => seen.length === 1);
  const connected = next(client, 'connected');
  await cluster.cutConnections();
  await cluster.pushServerRequest(session, bytes('two'));
  await connected;
  await cluster.pushServerRequest(session, bytes('three'));
  await until(() => seen.length === 3);
  expect(seen).toEqual([1n, 2n, 3n]);
});

test('a handler registered before connect gets the first server request', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  const delivered = signal<IncomingServerRequest>();
  client.onServerRequest(delivered.resolve);
  const connected = collect(client, 'connected');
  await client.connect();
  expect(connected).toHaveLength(1);
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('first'));
  expect(await delivered.promise).toMatchObject({ requestId: 1n, payload: bytes('first') });
});

test('a handler stays for the next session, which numbers its requests from 1', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  const seen: bigint[] = [];
  client.onServerRequest(({ requestId }) => void seen.push(requestId));
  for (const count of [1, 2]) {
    await client.connect();
    await cluster.pushServerRequest(client.sessionId as SessionId, bytes('x'));
    await until(() => seen.length === count);
    await client.disconnect();
  }
  expect(seen).toEqual([1n, 1n]);
});
