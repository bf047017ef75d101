/** The fields of events that the tests of the behaviour do not check. */

import { inspect } from 'node:util';

import { expect, test } from 'vitest';
import { type ClientEvent, ClientEvents, ClientMessageType, RaftClient, ServerMessageType, type SessionId } from 'zraft-client';

import { bytes, collect, connectedClient, failureOf, newClient, next, startCluster, until } from './support/fixtures';
import { afterWelcome, startPeer } from './support/scriptedPeer';

/** Collects all events from now on, except those of single messages. */
function all(client: RaftClient): ClientEvent[] {
  const events: ClientEvent[] = [];
  for (const name of Object.values(ClientEvents)) {
    if (name !== 'messageSent' && name !== 'messageReceived') client.on(name, (event: ClientEvent) => events.push(event));
  }
  return events;
}

test('no event is called error', () => {
  expect(Object.values(ClientEvents)).not.toContain('error');
});

test('connecting emits the attempt with its address, then the success, then the session', async () => {
  const cluster = await startCluster();
  const [memberId, endpoint] = [...cluster.clusterMembers][0] as [string, string];
  const client = newClient(cluster);
  const events = all(client);
  await client.connect();
  await until(() => events.length === 5);
  expect(events).toMatchObject([
    { type: 'stateChange', oldState: 'Disconnected', newState: 'ConnectingNewSession' },
    { type: 'connectionAttempt', memberId, address: endpoint },
    { type: 'connectionSuccess', memberId },
    { type: 'stateChange', oldState: 'ConnectingNewSession', newState: 'Connected' },
    { type: 'connected', memberId, endpoint, resumed: false, sessionId: client.sessionId },
  ]);
});

test('inspect shows the fields of an event and masks its session id', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  const connected = next(client, 'connected');
  await client.connect();
  const [memberId, endpoint] = [...cluster.clusterMembers][0] as [string, string];
  const shown = { type: 'connected', sessionId: '***', memberId, endpoint, resumed: false };
  expect(JSON.parse(JSON.stringify(await connected))).toEqual(shown);
  expect(inspect(await connected)).toBe(inspect(shown));
  const failed = next(client, 'connectionFailure');
  await cluster.kill('node-1');
  const failure = { type: 'connectionFailure', memberId, error: { code: 'refused', message: 'connection refused' } };
  expect(JSON.parse(JSON.stringify(await failed))).toEqual(failure);
});

test('reconnecting emits the member left, each member tried with its address, and the number of the attempt', async () => {
  const cluster = await startCluster();
  const [memberId, endpoint] = [...cluster.clusterMembers][0] as [string, string];
  const client = await connectedClient(cluster, { reconnectBackoff: { initial: 5, max: 5 } });
  const lost = next(client, 'disconnected');
  const attempts = collect(client, 'reconnecting');
  const failures = collect(client, 'connectionFailure');
  await cluster.kill('node-1');
  expect(await lost).toMatchObject({ reason: 'connectionLost', memberId });
  await until(() => failures.length >= 2);
  for (const failure of failures) expect(failure).toMatchObject({ memberId, error: { code: 'refused' } });
  const connected = next(client, 'connected');
  await cluster.restart('node-1');
  expect(await connected).toMatchObject({ memberId, endpoint, resumed: true, sessionId: client.sessionId });
  expect(attempts.map(({ attempt }) => attempt)).toEqual(attempts.map((_, index) => index + 1));
  for (const attempt of attempts) expect(attempt).toMatchObject({ memberId, endpoint });
});

test('the timeout event of a request that was never sent has no id', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.dropMessages('CreateSession');
  const client = newClient(cluster, { requestTimeout: 30 });
  const connecting = failureOf(client.connect());
  const command = next(client, 'requestTimeout');
  const query = next(client, 'queryTimeout');
  const failures = await Promise.all([failureOf(client.submitCommand(bytes('x'))), failureOf(client.submitQuery(bytes('x')))]);
  for (const failure of failures) {
    expect(failure).toMatchObject({ code: 'TIMEOUT', maybeExecuted: false, requestId: undefined, correlationId: undefined });
  }
  expect((await command).requestId).toBeUndefined();
  expect((await query).correlationId).toBeUndefined();
  await client.disconnect();
  await connecting;
});

test('serverRequestReceived is emitted once for all copies of a server request', async () => {
  const cluster = await startCluster({ redeliveryInterval: 20 });
  const client = await connectedClient(cluster);
  const emitted = collect(client, 'serverRequestReceived');
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('one'));
  await until(() => client.stats().duplicates > 1);
  expect(emitted).toMatchObject([
    { type: 'serverRequestReceived', request: { type: 'ServerRequest', requestId: 1n, payload: bytes('one') } },
  ]);
  expect(emitted[0]?.request.createdAt).toBeInstanceOf(Date);
});

test('a message that cannot be decoded emits its member and the fault, and the connection stays open', async () => {
  const peer = await startPeer(
    afterWelcome(({ kind, fields }, connection) => {
      if (kind !== ClientMessageType.ClientRequest) return;
      connection.sendFrame(bytes('nonsense'));
      connection.send(ServerMessageType.ClientResponse, fields.subarray(0, 8), fields.subarray(16, -8));
    }),
  );
  const client = newClient(peer);
  await client.connect();
  const emitted = collect(client, 'protocolError');
  const lost = collect(client, 'disconnected');
  expect(await client.submitCommand(bytes('x'))).toEqual(bytes('x'));
  expect(emitted).toMatchObject([{ type: 'protocolError', memberId: 'node-1', detail: expect.stringMatching(/.+/) }]);
  expect(lost).toEqual([]);
});

test('requestQuarantined of a query has its correlationId, and the query is safe to repeat', async () => {
  const peer = await startPeer(
    afterWelcome(({ kind }, connection) => {
      if (kind === ClientMessageType.Query) connection.socket.resetAndDestroy();
    }),
  );
  const client = newClient(peer, { resendInterval: 50, reconnectBackoff: { initial: 1, max: 1 } });
  await client.connect();
  const sent = next(client, 'messageSent');
  const emitted = next(client, 'requestQuarantined');
  const failure = failureOf(client.submitQuery(bytes('poison')));
  expect((await sent).message).toMatchObject({ type: 'Query', correlationId: (await emitted).correlationId });
  expect((await emitted).requestId).toBeUndefined();
  expect(await failure).toMatchObject({ code: 'QUARANTINED', maybeExecuted: false });
});
