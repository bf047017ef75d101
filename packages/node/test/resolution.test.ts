import { expect, test } from 'vitest';
import { type CancelledError, type TimeoutError } from 'zraft-client';

import { bytes, connectedClient, failureOf, next, startCluster } from './support/fixtures';

test('resolution resolves with an answer that comes after the timeout', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 100 });
  const client = await connectedClient(cluster);
  const failure = (await failureOf(client.submitCommand(bytes('late'), { timeout: 10 }))) as TimeoutError;
  expect(failure.maybeExecuted).toBe(true);
  expect(await failure.resolution()).toEqual(bytes('late'));
  expect(await failure.resolution()).toEqual(bytes('late'));
});

test('resolution resolves with an answer that comes after an abort', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 100 });
  const client = await connectedClient(cluster);
  const sent = next(client, 'messageSent');
  const controller = new AbortController();
  const command = failureOf(client.submitCommand(bytes('late'), { signal: controller.signal }));
  await sent;
  controller.abort();
  const failure = (await command) as CancelledError;
  expect(failure).toMatchObject({ code: 'CANCELLED', maybeExecuted: true, requestId: 1n });
  expect(await failure.resolution()).toEqual(bytes('late'));
});

test('resolution of a request that was never sent rejects with the error itself', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  await cluster.dropMessages('ClientResponse');
  const first = failureOf(client.submitCommand(bytes('first'), { timeout: 50 }));
  const failure = (await failureOf(client.submitCommand(bytes('second'), { timeout: 10 }))) as TimeoutError;
  expect(failure).toMatchObject({ code: 'TIMEOUT', maybeExecuted: false });
  expect(await failureOf(failure.resolution())).toBe(failure);
  await first;
});

test('resolution rejects when the command is abandoned', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { detachedTimeout: 50 });
  await cluster.dropMessages('ClientResponse');
  const failure = (await failureOf(client.submitCommand(bytes('lost'), { timeout: 10 }))) as TimeoutError;
  expect(await failureOf(failure.resolution())).toMatchObject({ code: 'TIMEOUT', maybeExecuted: true, requestId: 1n });
});

test('resolution rejects when the client is closed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('ClientResponse');
  const failure = (await failureOf(client.submitCommand(bytes('lost'), { timeout: 10 }))) as TimeoutError;
  const resolution = failureOf(failure.resolution());
  await client.disconnect({ timeout: 10 });
  expect(await resolution).toMatchObject({ code: 'CLOSED', maybeExecuted: true });
});
