import { expect, test } from 'vitest';
import { type SessionId, ValidationError } from 'zraft-client';

import { bytes, collect, connectedClient, newClient, next, startCluster, until } from './support/fixtures';

test('an iteration gives server requests in order, and ends with the client', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  const seen: string[] = [];
  const iterating = (async () => {
    for await (const { payload } of client.serverRequests) {
      seen.push(payload.toString());
      if (seen.length === 3) void client.disconnect();
    }
  })();
  for (const text of ['one', 'two', 'three']) await cluster.pushServerRequest(session, bytes(text));
  await iterating;
  expect(seen).toEqual(['one', 'two', 'three']);
});

test('an iteration ends when the session expires', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  const waiting = iterator.next();
  await cluster.expireSession(client.sessionId as SessionId);
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
});

test('leaving an iteration makes room for another consumer, which gets the undelivered requests', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  for (const text of ['one', 'two']) await cluster.pushServerRequest(session, bytes(text));
  for await (const { payload } of client.serverRequests) {
    expect(payload).toEqual(bytes('one'));
    break;
  }
  const seen: string[] = [];
  client.onServerRequest(({ payload }) => void seen.push(payload.toString()));
  await until(() => seen.length > 0);
  expect(seen).toEqual(['two']);
});

test('a server request that an iteration has not taken is not acknowledged', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  for (const text of ['one', 'two', 'three']) await cluster.pushServerRequest(session, bytes(text));
  await iterator.next();
  await until(async () => (await cluster.sessions())[0]?.unacknowledged === 2);
});

test('a second consumer is a ValidationError, beside a handler and beside an iteration', () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  const remove = client.onServerRequest(() => {});
  expect(() => client.onServerRequest(() => {})).toThrow(ValidationError);
  expect(() => client.serverRequests[Symbol.asyncIterator]()).toThrow(ValidationError);
  remove();
  client.serverRequests[Symbol.asyncIterator]();
  expect(() => client.onServerRequest(() => {})).toThrow(ValidationError);
});

test('a handler that is not a function is a ValidationError', () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  expect(() => client.onServerRequest(undefined as never)).toThrow(ValidationError);
});

test('serverRequests has an async iterator and no other member', () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  expect(Reflect.ownKeys(client.serverRequests)).toEqual([Symbol.asyncIterator]);
  expect(Object.getPrototypeOf(client.serverRequests)).toBe(Object.prototype);
});

test('an iteration ends at disconnect, even if connect was called in between', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  const waiting = iterator.next();
  const closing = client.disconnect();
  await client.connect();
  await closing;
  expect(await waiting).toEqual({ done: true, value: undefined });
  const seen: string[] = [];
  client.onServerRequest(({ payload }) => void seen.push(payload.toString()));
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('of the new session'));
  await until(() => seen.length > 0);
  expect(seen).toEqual(['of the new session']);
});

test('a consumer that was removed takes no request from its successor', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const remove = client.onServerRequest(() => {});
  remove();
  const seen: string[] = [];
  client.onServerRequest(({ payload }) => void seen.push(payload.toString()));
  remove();
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('one'));
  await until(() => seen.length > 0);
  expect(() => client.onServerRequest(() => {})).toThrow(ValidationError);
});

test('an iteration that was left ends for all pending calls of next', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  const waiting = iterator.next();
  expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
  expect(await waiting).toEqual({ done: true, value: undefined });
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('one'));
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
  expect((await cluster.sessions())[0]?.unacknowledged).toBe(1);
});

test('server requests of an old session are not delivered in the next', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, { onSessionExpired: 'newSession' });
  const session = client.sessionId as SessionId;
  const received = collect(client, 'serverRequestReceived');
  const iterator = client.serverRequests[Symbol.asyncIterator]();
  for (const text of ['one', 'two', 'three']) await cluster.pushServerRequest(session, bytes(text));
  expect((await iterator.next()).value).toMatchObject({ payload: bytes('one') });
  await until(() => received.length === 3);
  const connected = next(client, 'connected');
  await cluster.expireSession(session);
  await connected;
  const item = iterator.next();
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('new'));
  expect((await item).value).toMatchObject({ requestId: 1n, payload: bytes('new') });
});
