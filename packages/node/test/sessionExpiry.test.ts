import { expect, test } from 'vitest';
import { SessionExpiredError, type SessionId } from 'zraft-client';

import { bytes, collect, connectedClient, failureOf, next, startCluster } from './support/fixtures';

test('expiry fails everything pending with SessionExpiredError and emits sessionExpired', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  await cluster.dropMessages('answers');
  const commands = Array.from({ length: 10 }, (_, index) => failureOf(client.submitCommand(bytes(`command ${index}`))));
  const queries = Array.from({ length: 10 }, (_, index) => failureOf(client.submitQuery(bytes(`query ${index}`))));
  await cluster.journalReached(10);
  const expired = next(client, 'sessionExpired');
  const disconnected = next(client, 'disconnected');
  await cluster.expireSession(session);

  expect((await expired).sessionId).toBe(session);
  expect(await disconnected).toMatchObject({ reason: 'sessionExpired' });
  for (const failure of await Promise.all(commands)) {
    expect(failure).toBeInstanceOf(SessionExpiredError);
    expect(failure).toMatchObject({ code: 'SESSION_EXPIRED', maybeExecuted: true });
    expect((failure as SessionExpiredError).sessionId).toBe(session);
  }
  for (const failure of await Promise.all(queries)) {
    expect(failure).toBeInstanceOf(SessionExpiredError);
    expect(failure).toMatchObject({ maybeExecuted: false });
  }
  expect(client.state).toBe('Disconnected');
});

test('after expiry a request fails with SessionExpiredError until connect opens a new session', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  const expired = next(client, 'sessionExpired');
  await cluster.expireSession(session);
  await expired;
  expect(await failureOf(client.submitCommand(bytes('late')))).toMatchObject({ code: 'SESSION_EXPIRED', maybeExecuted: false });
  await client.connect();
  expect(client.sessionId).not.toBe(session);
  expect(await client.submitCommand(bytes('new'))).toEqual(bytes('new'));
});

test("with 'newSession' a new session follows an expired one, and queries continue in it", async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { onSessionExpired: 'newSession' });
  const session = client.sessionId as SessionId;
  await cluster.dropMessages('answers');
  const command = failureOf(client.submitCommand(bytes('command')));
  const query = client.submitQuery(bytes('query'));
  await cluster.journalReached(1);
  const expired = collect(client, 'sessionExpired');
  const connected = next(client, 'connected');
  await cluster.deliverAll();
  await cluster.expireSession(session);
  expect(await connected).toMatchObject({ resumed: false });
  expect(expired).toHaveLength(1);
  expect(await command).toMatchObject({ code: 'SESSION_EXPIRED', maybeExecuted: true });
  expect(await query).toEqual(bytes('query'));
  expect(client.sessionId).not.toBe(session);
});
