import { expect, test } from 'vitest';
import { ConnectionError } from 'zraft-client';

import { bytes, collect, failureOf, newClient, next, startCluster } from './support/fixtures';

test('requests submitted while connecting are queued and sent in order when the session is open', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.kill('node-1');
  const client = newClient(cluster, { reconnectBackoff: { initial: 10, max: 20 } });
  const connecting = client.connect();
  expect(client.state).toBe('ConnectingNewSession');
  const payloads = Array.from({ length: 20 }, (_, index) => bytes(`queued ${index}`));
  const answers = Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  await cluster.restart('node-1');
  expect(await answers).toEqual(payloads);
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(payloads.map(String));
  await connecting;
});

test('connect twice opens one session: the second call joins the first', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  const connected = collect(client, 'connected');
  await Promise.all([client.connect(), client.connect()]);
  await client.connect();
  expect(connected).toHaveLength(1);
  expect(await cluster.sessions()).toHaveLength(1);
});

test('connect finds the leader wherever it stands in the list of members', async () => {
  const cluster = await startCluster({ members: 3 });
  await cluster.moveLeadership('node-3');
  const client = newClient(cluster);
  await client.connect();
  expect(client.memberId).toBe('node-3');
});

test('clusterMembers may be a plain object', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient({ clusterMembers: Object.fromEntries(cluster.clusterMembers) });
  await client.connect();
  expect(await client.submitQuery(bytes('plain'))).toEqual(bytes('plain'));
});

test('an attempt ends when no caller waits, and queued requests are not executed', async () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  const connecting = client.connect({ timeout: 50 });
  const queued = client.submitCommand(bytes('never'));
  const [failure, queuedFailure] = await Promise.all([failureOf(connecting), failureOf(queued)]);
  expect(failure).toBeInstanceOf(ConnectionError);
  expect(queuedFailure).toMatchObject({ maybeExecuted: false });
  expect(client.state).toBe('Disconnected');
});

test('each call of connect has its own timeout: the attempt continues while another caller waits', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.kill('node-1');
  const client = newClient(cluster, { reconnectBackoff: { initial: 10, max: 20 } });
  const patient = client.connect();
  const impatient = failureOf(client.connect({ timeout: 30 }));
  const queued = client.submitCommand(bytes('queued'));
  expect(await impatient).toMatchObject({ code: 'CONNECTION', maybeExecuted: false });
  expect(client.state).toBe('ConnectingNewSession');
  await cluster.restart('node-1');
  await patient;
  expect(await queued).toEqual(bytes('queued'));
});

test('connect does not resolve before the session is open', async () => {
  const cluster = await startCluster();
  await cluster.dropMessages('SessionCreated');
  const client = newClient(cluster, { connectionTimeout: 100 });
  const reached = next(client, 'connectionSuccess');
  let open = false;
  const connecting = client.connect().then(() => (open = true));
  await reached;
  expect([open, client.state, client.sessionId]).toEqual([false, 'ConnectingNewSession', undefined]);
  await cluster.deliverAll();
  await connecting;
  expect(client.state).toBe('Connected');
});
