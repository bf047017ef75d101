import { expect, test } from 'vitest';
import { TimeoutError } from 'zraft-client';

import { bytes, connectedClient, failureOf, newClient, next, startCluster } from './support/fixtures';

test('a command that was sent times out with its requestId and an unknown outcome', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { requestTimeout: 50 });
  await cluster.dropMessages('ClientResponse');
  const emitted = next(client, 'requestTimeout');
  const failure = await failureOf(client.submitCommand(bytes('lost')));
  expect(failure).toBeInstanceOf(TimeoutError);
  expect(failure).toMatchObject({ code: 'TIMEOUT', maybeExecuted: true, requestId: 1n, correlationId: undefined });
  expect((await emitted).requestId).toBe(1n);
  expect(client.stats()).toMatchObject({ unknown: 1, detached: 1 });
});

test('a query that was sent times out with its correlationId, and was not executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('QueryResponse');
  const emitted = next(client, 'queryTimeout');
  const failure = (await failureOf(client.submitQuery(bytes('lost'), { timeout: 50 }))) as TimeoutError;
  expect(failure).toBeInstanceOf(TimeoutError);
  expect(failure).toMatchObject({ code: 'TIMEOUT', maybeExecuted: false, requestId: undefined });
  expect(failure.correlationId).toMatch(/^[0-9a-f-]{36}$/);
  expect((await emitted).correlationId).toBe(failure.correlationId);
});

test('a command that was never sent times out without an id, and was not executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.dropMessages('CreateSession');
  const client = newClient(cluster, { requestTimeout: 50 });
  const connecting = failureOf(client.connect({ timeout: 2000 }));
  const failure = await failureOf(client.submitCommand(bytes('unsent')));
  expect(failure).toMatchObject({ code: 'TIMEOUT', maybeExecuted: false, requestId: undefined });
  await client.disconnect();
  await connecting;
  expect(await cluster.executed()).toBe(0);
});

test("a request's own timeout takes precedence over requestTimeout", async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { requestTimeout: Infinity });
  await cluster.dropMessages('ClientResponse');
  expect(await failureOf(client.submitCommand(bytes('short'), { timeout: 20 }))).toMatchObject({ code: 'TIMEOUT' });
});

test('a timeout of Infinity waits for the answer', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 200 });
  const client = await connectedClient(cluster, { requestTimeout: 20 });
  expect(await client.submitCommand(bytes('slow'), { timeout: Infinity })).toEqual(bytes('slow'));
});
