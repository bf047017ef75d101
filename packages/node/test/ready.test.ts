import { expect, test } from 'vitest';
import type { RaftClient } from 'zraft-client';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';
import { printed, runProgram } from './support/program';

/** Waits until a call of ready() that was made before would have resolved if there were room. */
async function turns(client: RaftClient): Promise<void> {
  await client.ping();
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
}

test('ready resolves at once while there is room, connected or not', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  await client.ready();
  await client.connect();
  await client.ready();
});

test('ready resolves once there is room again', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 20 });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 4 });
  const answers: Promise<Buffer>[] = [];
  for (let index = 0; index < 50; index++) {
    await client.ready();
    answers.push(client.submitCommand(bytes(`${index}`), { timeout: Infinity }));
  }
  expect((await Promise.all(answers)).map(String)).toEqual(Array.from({ length: 50 }, (_, index) => `${index}`));
});

test('ready settles if the client is closed while there is no room', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 1 });
  await cluster.dropMessages('ClientResponse');
  const requests = [client.submitCommand(bytes('1')), client.submitCommand(bytes('2')), client.submitCommand(bytes('3'))].map(failureOf);
  const ready = client.ready();
  await client.disconnect({ timeout: 20 });
  await ready;
  await Promise.all(requests);
});

test('ready also waits for room below maxQueuedBytes', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  await cluster.dropMessages('ClientResponse');
  const held = failureOf(client.submitCommand(Buffer.alloc(1000), { timeout: Infinity }));
  let isReady = false;
  const ready = client.ready().then(() => (isReady = true));
  await turns(client);
  expect(isReady).toBe(false);
  await client.disconnect({ timeout: 20 });
  await ready;
  expect(await held).toMatchObject({ code: 'CLOSED' });
});

test('answered and failed requests make room', async () => {
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

test('ready waits for room for the payload that was last refused', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  await cluster.dropMessages('QueryResponse');
  const held = [client.submitQuery(Buffer.alloc(400), { timeout: Infinity }), client.submitQuery(Buffer.alloc(400), { timeout: Infinity })];
  const settled = held.map(failureOf);
  expect(await failureOf(client.submitCommand(Buffer.alloc(900)))).toMatchObject({ code: 'OVERLOADED' });
  let isReady = false;
  const ready = client.ready().then(() => (isReady = true));
  // There is room for a shorter payload, and no one else waits for it.
  expect(await client.submitCommand(Buffer.alloc(100, 1))).toHaveLength(100);
  await turns(client);
  expect(isReady).toBe(false);
  await client.disconnect({ timeout: 20 });
  await ready;
  for (const failure of await Promise.all(settled)) expect(failure).toMatchObject({ code: 'CLOSED' });
  // No refused payload is left, so room for any payload is enough.
  await client.connect();
  const again = failureOf(client.submitQuery(Buffer.alloc(400), { timeout: Infinity }));
  await client.ready();
  await client.disconnect({ timeout: 20 });
  expect(await again).toMatchObject({ code: 'CLOSED' });
});

test('ready waits for room that a detached command takes', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  await cluster.dropMessages('ClientResponse');
  const detached = await failureOf(client.submitCommand(Buffer.alloc(600), { timeout: 10 }));
  expect(detached).toMatchObject({ code: 'TIMEOUT', maybeExecuted: true });
  // Only the native half knows of the detached command's payload.
  expect(await failureOf(client.submitCommand(Buffer.alloc(700)))).toMatchObject({ code: 'OVERLOADED' });
  let isReady = false;
  const ready = client.ready().then(() => (isReady = true));
  await turns(client);
  expect(isReady).toBe(false);
  await client.disconnect({ timeout: 20 });
  await ready;
});

test('a caller that submits again when ready resolves is refused once per lack of room', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 20 });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  let refused = 0;
  for (let round = 0; round < 10; round++) {
    const first = client.submitCommand(Buffer.alloc(600, 1));
    for (;;) {
      try {
        await client.submitCommand(Buffer.alloc(700, 2));
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 'OVERLOADED' });
        refused += 1;
        await client.ready();
      }
    }
    await first;
  }
  expect(refused).toBe(10);
});

test.each([
  ['connected', true],
  ['not connected', false],
])('ready does not resolve before the event loop has had a turn: %s', async (_, isConnected) => {
  const cluster = await startCluster();
  const client = isConnected ? await connectedClient(cluster) : newClient(cluster);
  for (let round = 0; round < 10; round++) {
    let hadTurn = false;
    setImmediate(() => (hadTurn = true));
    await client.ready();
    expect(hadTurn).toBe(true);
  }
});

test.each([
  ['and waits for ready', 'await client.ready();'],
  ['and does not wait', ''],
])('a caller that submits again after each failure %s does not block the event loop, even if nothing is open', async (_, waits) => {
  // In its own process: a blocked event loop could not end this test.
  const outcome = await runProgram(`
    const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    const codes = new Set();
    while (turns < 3) {
      await client.submitCommand(Buffer.from('x')).catch(({ code }) => codes.add(code));
      ${waits}
    }
    clearInterval(timer);
    console.log(...codes);
  `);
  expect(outcome).toEqual(printed('NOT_CONNECTED'));
});
