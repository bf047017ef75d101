/** State, events and server requests while the outbox is full because JavaScript takes nothing. */

import { expect, test } from 'vitest';
import { type RaftClient } from 'zraft-client';

import { bytes, collect, connectedClient, next, startCluster, until } from './support/fixtures';
import { printed, runProgram } from './support/program';

const MIB = 1024 * 1024;

/** Blocks the event loop until more answers have come than leave room for events. */
function blockedByAnswers(client: RaftClient, count = 90): Promise<Buffer[]> {
  const { answered } = client.stats();
  const answers = Array.from({ length: count }, () => client.submitQuery(Buffer.alloc(MIB, 7), { timeout: Infinity }));
  while (client.stats().answered - answered < count);
  return Promise.all(answers);
}

test('the end of the session is reported even if the outbox is full, and then the process exits', async () => {
  const outcome = await runProgram(`
    const cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    await client.connect();
    client.on('sessionExpired', () => console.log('expired', client.state, client.sessionId));
    client.on('disconnected', ({ reason }) => console.log('disconnected', reason));
    const answers = Array.from({ length: 90 }, () => client.submitQuery(Buffer.alloc(1024 * 1024), { timeout: Infinity }));
    while (client.stats().answered < 90);
    const expired = cluster.expireSession(client.sessionId);
    while (client.state !== 'Disconnected');
    console.log('seen', client.state, client.sessionId);
    await Promise.all(answers);
    await expired;
    await cluster.stop();
    console.log('stopped');
  `);
  expect(outcome.stdout.split('\n').sort()).toEqual([
    '',
    'disconnected sessionExpired',
    'expired Disconnected undefined',
    'seen Disconnected undefined',
    'stopped',
  ]);
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
});

test('a driver that is parked while the outbox is full reports its events first', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 0 });
  const client = await connectedClient(cluster);
  const changes = collect(client, 'stateChange');
  const disconnected = next(client, 'disconnected');
  const answers = blockedByAnswers(client);
  const closed = client.disconnect();
  while (client.state !== 'Disconnected');
  expect((await answers).every((answer) => answer.length === MIB)).toBe(true);
  await closed;
  expect(await disconnected).toMatchObject({ reason: 'closed' });
  await until(() => changes.length > 0);
  expect(changes.at(-1)).toMatchObject({ newState: 'Disconnected' });
});

test('server requests of a session that began while the outbox was full are all acknowledged', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 0, redeliveryInterval: 20 });
  const client = await connectedClient(cluster, { onSessionExpired: 'newSession' });
  const received: string[] = [];
  client.onServerRequest(({ payload }) => received.push(String(payload)));
  const old = client.sessionId;
  await cluster.pushServerRequest(old as string, bytes('old'));
  await until(() => received.length === 1);

  const answers = blockedByAnswers(client);
  const expired = cluster.expireSession(old as string);
  while (client.sessionId === old || client.state !== 'Connected');
  await expired;
  const session = client.sessionId as string;
  expect(session).not.toBe(old);
  await answers;
  const count = 100;
  for (let number = 0; number < count; number++) await cluster.pushServerRequest(session, bytes(String(number)));
  await until(() => received.length === count + 1);
  expect(received.slice(1)).toEqual(Array.from({ length: count }, (_, number) => String(number)));
  await until(async () => (await cluster.sessions()).every(({ unacknowledged }) => unacknowledged === 0));
});

test('the state is published even if no chunk is taken', async () => {
  const outcome = await runProgram(`
    const cluster = await TestCluster.start({ application: 'echo', commitDelay: 0 });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities, requestTimeout: Infinity });
    await client.connect();
    const expired = new Promise((resolve) => client.on('sessionExpired', resolve));
    // Far more than the 512 chunks of 8 KiB that crowd the outbox.
    const answers = Array.from({ length: 60_000 }, () => client.submitQuery(Buffer.alloc(100, 1)));
    while (client.stats().answered < 60_000);
    const done = cluster.expireSession(client.sessionId);
    while (client.sessionId !== undefined);
    console.log(client.state);
    await Promise.all([...answers, done, expired]);
    await cluster.stop();
  `);
  expect(outcome).toEqual(printed('Disconnected'));
});
