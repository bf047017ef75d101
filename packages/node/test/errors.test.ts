/** Each error has its class, its code and the right `maybeExecuted`. */

import { createServer } from 'node:net';

import { expect, test } from 'vitest';
import {
  CancelledError,
  ClientMessageType,
  ClosedError,
  ConnectionError,
  NotConnectedError,
  OverloadedError,
  ProtocolError,
  QuarantinedError,
  RaftClientError,
  ResponseEvictedError,
  ServerMessageType,
  SessionRejectedError,
  ValidationError,
} from 'zraft-client';

import { bytes, collect, connectedClient, failureOf, newClient, next, signal, startCluster } from './support/fixtures';
import { afterWelcome, startPeer } from './support/scriptedPeer';

// TimeoutError: timeouts.test.ts. SessionExpiredError: sessionExpiry.test.ts.

test('ValidationError: not executed', () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  expect(() => client.submitCommand(bytes(''))).toThrow(
    expect.objectContaining({ name: 'ValidationError', code: 'VALIDATION', maybeExecuted: false }),
  );
  expect(ValidationError.prototype).toBeInstanceOf(RaftClientError);
  expect(RaftClientError.prototype).toBeInstanceOf(Error);
});

test('NotConnectedError: submitted before connect, not executed', async () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  for (const submitted of [client.submitCommand(bytes('x')), client.submitQuery(bytes('x')), client.ping()]) {
    const failure = await failureOf(submitted);
    expect(failure).toBeInstanceOf(NotConnectedError);
    expect(failure).toMatchObject({ name: 'NotConnectedError', code: 'NOT_CONNECTED', maybeExecuted: false });
  }
});

test('ClosedError: unsettled at disconnect, outcome unknown if sent and not executed otherwise', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  await cluster.dropMessages('ClientResponse');
  const sent = failureOf(client.submitCommand(bytes('sent')));
  const unsent = failureOf(client.submitCommand(bytes('unsent')));
  await cluster.journalReached(1);
  const closing = client.disconnect({ timeout: 20 });
  const during = failureOf(client.submitCommand(bytes('during')));
  await closing;
  expect(await sent).toMatchObject({ name: 'ClosedError', code: 'CLOSED', maybeExecuted: true });
  expect(await unsent).toMatchObject({ name: 'ClosedError', code: 'CLOSED', maybeExecuted: false });
  expect(await during).toMatchObject({ name: 'ClosedError', code: 'CLOSED', maybeExecuted: false });
  expect(await during).toBeInstanceOf(ClosedError);
});

test('ClosedError: disconnect() during connect()', async () => {
  const cluster = await startCluster();
  await cluster.dropMessages('CreateSession');
  const client = newClient(cluster);
  const connecting = failureOf(client.connect());
  await client.disconnect();
  const failure = await connecting;
  expect(failure).toBeInstanceOf(ClosedError);
  expect(failure).toMatchObject({ code: 'CLOSED', maybeExecuted: false });
});

test('CancelledError: its cause is the reason of the signal', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  const reason = new Error('no longer wanted');
  const controller = new AbortController();
  const sent = next(client, 'messageSent');
  const command = failureOf(client.submitCommand(bytes('x'), { signal: controller.signal }));
  const query = failureOf(client.submitQuery(bytes('x'), { signal: controller.signal }));
  await sent;
  controller.abort(reason);
  expect(await command).toBeInstanceOf(CancelledError);
  expect(await command).toMatchObject({ code: 'CANCELLED', maybeExecuted: true, requestId: 1n });
  expect((await command) as Error).toHaveProperty('cause', reason);
  expect(await query).toMatchObject({
    code: 'CANCELLED',
    maybeExecuted: false,
    requestId: undefined,
    correlationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect((await query) as Error).toHaveProperty('cause', reason);
});

test('OverloadedError: beyond maxQueued, not executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1, maxQueued: 2 });
  await cluster.dropMessages('ClientResponse');
  const sent = next(client, 'messageSent');
  const held = [failureOf(client.submitCommand(bytes('on the wire'), { timeout: 300 }))];
  await sent;
  held.push(...Array.from({ length: 2 }, () => failureOf(client.submitCommand(bytes('queued'), { timeout: 300 }))));
  const failure = await failureOf(client.submitCommand(bytes('too much')));
  expect(failure).toBeInstanceOf(OverloadedError);
  expect(failure).toMatchObject({ code: 'OVERLOADED', maybeExecuted: false });
  for (const each of await Promise.all(held)) expect(each).toMatchObject({ code: 'TIMEOUT' });
});

test('OverloadedError: beyond maxQueuedBytes, not executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 10_000 });
  await cluster.dropMessages('ClientResponse');
  const held = failureOf(client.submitCommand(Buffer.alloc(9000), { timeout: 100 }));
  expect(await failureOf(client.submitCommand(Buffer.alloc(1001)))).toBeInstanceOf(OverloadedError);
  expect(await held).toMatchObject({ code: 'TIMEOUT' });
});

test("SessionRejectedError: has the server's reason", async () => {
  const peer = await startPeer(({ fields }, connection) => {
    connection.send(ServerMessageType.SessionRejected, Buffer.from([3]), fields.subarray(-8), Buffer.from([0]));
  });
  const client = newClient(peer);
  const connecting = failureOf(client.connect());
  const queued = failureOf(client.submitCommand(bytes('x')));
  expect(await connecting).toBeInstanceOf(SessionRejectedError);
  for (const failure of [await connecting, await queued]) {
    expect(failure).toMatchObject({ code: 'SESSION_REJECTED', reason: 'InvalidCapabilities', maybeExecuted: false });
  }
  expect(client.state).toBe('Disconnected');
});

test('SessionRejectedError: commands sent before may have been executed; queries and unsent commands were not', async () => {
  const peer = await startPeer(({ kind, fields }, connection) => {
    if (kind === ClientMessageType.CreateSession) connection.welcome({ kind, fields });
    else if (kind === ClientMessageType.ContinueSession)
      connection.send(ServerMessageType.SessionRejected, Buffer.from([4]), fields.subarray(-8), Buffer.from([0]));
    else if (kind === ClientMessageType.Query) connection.socket.resetAndDestroy();
  });
  const client = newClient(peer, { maxInFlight: 1 });
  await client.connect();
  const disconnected = collect(client, 'disconnected');
  const requests = [
    client.submitCommand(bytes('sent')),
    client.submitCommand(bytes('queued')),
    // The peer closes the connection when it sees the command, so the command has been sent.
    client.submitQuery(bytes('query')),
  ].map(failureOf);
  const failures = await Promise.all(requests);
  for (const failure of failures) {
    expect(failure).toBeInstanceOf(SessionRejectedError);
    expect(failure).toMatchObject({ code: 'SESSION_REJECTED', reason: 'Other' });
  }
  expect(failures.map((failure) => (failure as SessionRejectedError).maybeExecuted)).toEqual([true, false, false]);
  expect(disconnected.at(-1)).toMatchObject({ reason: 'rejected' });
  expect(await failureOf(client.submitCommand(bytes('after')))).toMatchObject({ code: 'NOT_CONNECTED' });
});

test('ResponseEvictedError: the outcome is unknown', async () => {
  const peer = await startPeer(
    afterWelcome(({ fields }, connection) => {
      connection.send(ServerMessageType.RequestError, fields.subarray(0, 8), Buffer.from([1]));
    }),
  );
  const client = newClient(peer);
  await client.connect();
  const failure = await failureOf(client.submitCommand(bytes('x')));
  expect(failure).toBeInstanceOf(ResponseEvictedError);
  expect(failure).toMatchObject({ code: 'RESPONSE_EVICTED', maybeExecuted: true, requestId: 1n });
});

test('ProtocolError: the answer cannot be decoded', async () => {
  const peer = await startPeer(
    afterWelcome(({ fields }, connection) => {
      connection.send(ServerMessageType.ClientResponse, fields.subarray(0, 8), Buffer.from([0xff, 0xff, 0xff, 0xff]));
    }),
  );
  const client = newClient(peer);
  await client.connect();
  const emitted = collect(client, 'protocolError');
  const failure = await failureOf(client.submitCommand(bytes('x')));
  expect(failure).toBeInstanceOf(ProtocolError);
  expect(failure).toMatchObject({ code: 'PROTOCOL', maybeExecuted: true });
  expect(emitted).toMatchObject([{ memberId: 'node-1' }]);
  expect(client.stats().protocolErrors).toBe(1);
  expect(client.state).toBe('Connected');
});

test('ProtocolError: the answer is too long', async () => {
  const cluster = await startCluster();
  const writer = await connectedClient(cluster);
  const { set, get } = await import('zraft-client/kv');
  await writer.submitCommand(set('key', 'x'.repeat(200_000)));
  const reader = await connectedClient(cluster, { maxMessageSize: 1000 });
  const failure = await failureOf(reader.submitQuery(get('key')));
  expect(failure).toBeInstanceOf(ProtocolError);
  expect(failure).toMatchObject({ code: 'PROTOCOL', maybeExecuted: false });
});

test('QuarantinedError: members fail on the same request again and again', async () => {
  const peer = await startPeer(
    afterWelcome(({ kind, fields }, connection) => {
      if (kind !== ClientMessageType.ClientRequest) return;
      const payload = fields.subarray(20, -8);
      if (payload.equals(bytes('poison'))) connection.socket.resetAndDestroy();
      else connection.send(ServerMessageType.ClientResponse, fields.subarray(0, 8), fields.subarray(16, -8));
    }),
  );
  const client = newClient(peer, { resendInterval: 50, reconnectBackoff: { initial: 1, max: 1 } });
  await client.connect();
  const emitted = next(client, 'requestQuarantined');
  const poison = failureOf(client.submitCommand(bytes('poison')));
  const good = client.submitCommand(bytes('good'), { timeout: Infinity });
  expect(await poison).toBeInstanceOf(QuarantinedError);
  expect(await poison).toMatchObject({ code: 'QUARANTINED', maybeExecuted: true });
  expect(await emitted).toMatchObject({ requestId: 1n });
  expect(await good).toEqual(bytes('good'));
});

test('ConnectionError: refused', async () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  const failed = next(client, 'connectionFailure');
  const failure = await failureOf(client.connect({ timeout: 100 }));
  expect(failure).toBeInstanceOf(ConnectionError);
  expect(failure).toMatchObject({
    code: 'CONNECTION',
    maybeExecuted: false,
    endpoint: 'tcp://127.0.0.1:1',
    cause: expect.objectContaining({ name: 'ConnectionCause', code: 'refused' }),
  });
  expect((await failed).error).toMatchObject({ name: 'ConnectionCause', code: 'refused' });
});

test('ConnectionError: ZMTP handshake, but no answer', async () => {
  const peer = await startPeer(() => {});
  const client = newClient(peer, { connectionTimeout: 50 });
  const failure = await failureOf(client.connect({ timeout: 500 }));
  expect(failure).toMatchObject({ code: 'CONNECTION', endpoint: peer.endpoint, cause: expect.objectContaining({ code: 'neverAnswered' }) });
  expect((failure as ConnectionError).message).toContain('is this a client port?');
});

test('ConnectionError: unknown host', async () => {
  // This name is reserved and never has an address.
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://nowhere.invalid:7001' } }, { connectionTimeout: 10_000 });
  const failed = next(client, 'connectionFailure');
  const connecting = failureOf(client.connect());
  expect((await failed).error).toMatchObject({ code: 'unknownHost', message: 'unknown host' });
  await client.disconnect();
  expect(await connecting).toMatchObject({ code: 'CLOSED' });
});

test('ConnectionError: closed before the first message', async () => {
  const closed = signal();
  const server = createServer((socket) => socket.end(closed.resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `tcp://127.0.0.1:${(server.address() as { port: number }).port}`;
  const client = newClient({ clusterMembers: { 'node-1': endpoint } });
  const failure = await failureOf(client.connect({ timeout: 300 }));
  expect(failure).toMatchObject({ code: 'CONNECTION', endpoint, cause: expect.objectContaining({ code: 'closedBeforeFirstMessage' }) });
  server.close();
});

test('ConnectionError: no leader', async () => {
  const cluster = await startCluster({ members: 3, electionPause: 60_000 });
  await cluster.stepDown();
  const client = newClient(cluster);
  const failure = await failureOf(client.connect({ timeout: 300 }));
  expect(failure).toMatchObject({ code: 'CONNECTION', cause: expect.objectContaining({ code: 'noLeader' }) });
});

test('ConnectionError: the leader is not among the configured members', async () => {
  const cluster = await startCluster({ members: 3 });
  const leader = await cluster.leaderElected();
  const clusterMembers = new Map([...cluster.clusterMembers].filter(([id]) => id !== leader));
  const client = newClient({ clusterMembers });
  const failed = next(client, 'connectionFailure');
  const failure = (await failureOf(client.connect({ timeout: 300 }))) as ConnectionError;
  expect(failure).toMatchObject({ code: 'CONNECTION', cause: expect.objectContaining({ code: 'leaderNotConfigured', leaderId: leader }) });
  expect(failure.message).toContain(`the leader is ${leader}, which is not configured`);
  expect(JSON.parse(JSON.stringify(failure.cause))).toEqual({
    code: 'leaderNotConfigured',
    message: failure.cause?.message,
    leaderId: leader,
  });
  expect((await failed).error).toMatchObject({ code: 'leaderNotConfigured', leaderId: leader });
});
