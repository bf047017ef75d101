import { expect, test } from 'vitest';
import { type IncomingServerRequest, type SessionId } from 'zraft-client';

import { bytes, connectedClient, signal, startCluster, until } from './support/fixtures';

const HANDLED = { ackServerRequests: 'handled' } as const;

test("in 'handled' mode a request is acknowledged when the handler's promise resolves, and the next waits for it", async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, HANDLED);
  const session = client.sessionId as SessionId;
  const first = signal();
  const seen: string[] = [];
  client.onServerRequest(async ({ payload }) => {
    seen.push(payload.toString());
    if (seen.length === 1) await first.promise;
  });
  await cluster.pushServerRequest(session, bytes('one'));
  await cluster.pushServerRequest(session, bytes('two'));
  await until(() => seen.length === 1);
  await client.ping();
  expect(seen).toEqual(['one']);
  expect((await cluster.sessions())[0]?.unacknowledged).toBe(2);
  first.resolve();
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
  expect(seen).toEqual(['one', 'two']);
});

test("in 'handled' mode an iteration acknowledges by its items", async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, HANDLED);
  const session = client.sessionId as SessionId;
  for (const text of ['one', 'two']) await cluster.pushServerRequest(session, bytes(text));
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  const first = (await iterator.next()).value as IncomingServerRequest;
  expect(first.payload).toEqual(bytes('one'));
  const second = iterator.next();
  await client.ping();
  expect((await cluster.sessions())[0]?.unacknowledged).toBe(2);
  first.acknowledge();
  first.acknowledge();
  const item = (await second).value as IncomingServerRequest;
  expect(item.payload).toEqual(bytes('two'));
  item.acknowledge();
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
});

test("in 'handled' mode the next consumer gets the request that an iteration left unhandled", async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, HANDLED);
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('one'));
  for await (const { payload } of client.serverRequests) {
    expect(payload).toEqual(bytes('one'));
    break;
  }
  const again = signal<IncomingServerRequest>();
  client.onServerRequest(again.resolve);
  expect(await again.promise).toMatchObject({ requestId: 1n, payload: bytes('one') });
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
});

test("in 'handled' mode a request being handled when its session ends does not block the next session", async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, { ...HANDLED, onSessionExpired: 'newSession' });
  const work = signal();
  const seen: string[] = [];
  client.onServerRequest(async ({ payload }) => {
    seen.push(payload.toString());
    if (seen.length === 1) await work.promise;
  });
  const old = client.sessionId as SessionId;
  await cluster.pushServerRequest(old, bytes('old'));
  await until(() => seen.length === 1);
  await cluster.expireSession(old);
  let next: SessionId | undefined;
  // The session can end between two reads of its id.
  await until(() => (next = client.sessionId) !== undefined && next !== old);
  await cluster.pushServerRequest(next as unknown as SessionId, bytes('new'));
  await until(() => seen.length === 2);
  work.resolve();
  await cluster.pushServerRequest(next as unknown as SessionId, bytes('last'));
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0 && seen.length === 3);
  expect(seen).toEqual(['old', 'new', 'last']);
});

test("in 'handled' mode a request being handled at a reconnect is acknowledged afterwards and not delivered again", async () => {
  const cluster = await startCluster({ redeliveryInterval: 50 });
  const client = await connectedClient(cluster, HANDLED);
  const work = signal();
  const seen: bigint[] = [];
  client.onServerRequest(async ({ requestId }) => {
    seen.push(requestId);
    await work.promise;
  });
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('one'));
  await until(() => seen.length === 1);
  await cluster.cutConnections();
  await until(() => client.state === 'Connected' && client.stats().duplicates > 0);
  work.resolve();
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
  expect(seen).toEqual([1n]);
});
