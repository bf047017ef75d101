import { expect, test } from 'vitest';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

test('ready resolves at once while there is room, connected or not', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  await client.ready();
  await client.connect();
  await client.ready();
});

test('ready resolves when there is room again', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 20 });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 4 });
  const answers: Promise<Buffer>[] = [];
  for (let index = 0; index < 50; index++) {
    await client.ready();
    answers.push(client.submitCommand(bytes(`${index}`), { timeout: Infinity }));
  }
  expect((await Promise.all(answers)).map(String)).toEqual(Array.from({ length: 50 }, (_, index) => `${index}`));
});

test('ready settles when the client is closed while there is no room', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 1 });
  await cluster.dropMessages('ClientResponse');
  const requests = [client.submitCommand(bytes('1')), client.submitCommand(bytes('2')), client.submitCommand(bytes('3'))].map(failureOf);
  const ready = client.ready();
  await client.disconnect({ timeout: 20 });
  await ready;
  await Promise.all(requests);
});

test('ready waits for room below maxQueuedBytes, too', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  await cluster.dropMessages('ClientResponse');
  const held = failureOf(client.submitCommand(Buffer.alloc(1000), { timeout: Infinity }));
  let isReady = false;
  const ready = client.ready().then(() => (isReady = true));
  await client.ping();
  expect(isReady).toBe(false);
  await client.disconnect({ timeout: 20 });
  await ready;
  expect(await held).toMatchObject({ code: 'CLOSED' });
});

test('what was answered or has failed makes room', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 2, maxQueuedBytes: 1000 });
  for (let round = 0; round < 20; round++) {
    await client.ready();
    expect(await client.submitCommand(Buffer.alloc(600, 1))).toHaveLength(600);
    await client.ready();
    expect(await client.submitQuery(Buffer.alloc(600, 1))).toHaveLength(600);
  }
  await cluster.dropMessages('QueryResponse');
  for (let round = 0; round < 20; round++) {
    await client.ready();
    expect(await failureOf(client.submitQuery(Buffer.alloc(600, 1), { timeout: 1 }))).toMatchObject({ code: 'TIMEOUT' });
  }
});
