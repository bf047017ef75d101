/** Logs show no session id, no value of a capability and no user information of an endpoint. */

import { inspect } from 'node:util';

import { expect, test } from 'vitest';
import { type ClientEvent, ClientEvents, type CreateSession, RaftClient, type SessionExpiredError, type SessionId } from 'zraft-client';

import { bytes, failureOf, newClient, startCluster, until } from './support/fixtures';

const SECRET = 'hunter2-the-capability';

function shown(thing: unknown): string[] {
  return [
    inspect(thing),
    inspect(thing, { depth: 10, compact: false }),
    inspect(thing, { depth: 10, showHidden: true }),
    inspect({ nested: [thing] }, { depth: 10 }),
    String(thing),
    JSON.stringify(thing) ?? '',
    JSON.stringify({ nested: [thing] }),
    thing instanceof Error ? `${thing.message}${thing.stack}` : '',
  ];
}

test('neither client, events, messages nor errors show the session id or the value of a capability', async () => {
  const cluster = await startCluster({ redeliveryInterval: 50 });
  const client = newClient(cluster, { capabilities: { token: SECRET } });
  const events: ClientEvent[] = [];
  for (const name of Object.values(ClientEvents)) client.on(name, (event: ClientEvent) => events.push(event));
  client.onServerRequest(() => {
    throw new Error('of the handler');
  });
  await client.connect();
  const session = client.sessionId as SessionId;
  const things: unknown[] = [client];
  await cluster.pushServerRequest(session, bytes('x'));
  await until(() => events.some(({ type }) => type === 'handlerError'));
  await cluster.cutConnections();
  await until(() => client.state === 'Connected' && events.some((event) => event.type === 'connected' && event.resumed));
  await cluster.dropMessages('answers');
  const { set } = await import('zraft-client/kv');
  things.push(await failureOf(client.submitCommand(set('key', 'value'), { timeout: 10 })));
  const expired = failureOf(client.submitCommand(set('key', 'value')));
  await cluster.expireSession(session);
  const error = (await expired) as SessionExpiredError;
  await until(() => events.some(({ type }) => type === 'sessionExpired'));
  things.push(error, events, ...events);

  // The property itself returns the id.
  expect(error.sessionId).toBe(session);
  const created = events.flatMap((event) =>
    event.type === 'messageSent' && event.message.type === 'CreateSession' ? [event.message] : [],
  );
  expect((created[0] as CreateSession).capabilities.get('token')).toBe(SECRET);
  const continued = events.flatMap((event) =>
    event.type === 'messageSent' && event.message.type === 'ContinueSession' ? [event.message] : [],
  );
  expect(continued[0]?.sessionId).toBe(session);
  const made = events.flatMap((event) =>
    event.type === 'messageReceived' && event.message.type === 'SessionCreated' ? [event.message] : [],
  );
  expect(made[0]?.sessionId).toBe(session);
  expect(events.find((event) => event.type === 'connected')).toHaveProperty('sessionId', session);
  expect(events.find((event) => event.type === 'sessionExpired')).toHaveProperty('sessionId', session);

  const text = things.flatMap(shown).join('\n');
  expect(text).not.toContain(session);
  expect(text).not.toContain(SECRET);
  expect(text).toContain('***');
  expect(text).toContain('ContinueSession');
});

test('inspect of the client shows its state, its member and a masked session id', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  expect(JSON.parse(JSON.stringify(client))).toEqual({ state: 'Disconnected' });
  await client.connect();
  expect(JSON.parse(JSON.stringify(client))).toEqual({ state: 'Connected', memberId: 'node-1', sessionId: '***' });
  expect(inspect(client)).toBe("RaftClient { state: 'Connected', memberId: 'node-1', sessionId: '***' }");
});

test("no output shows an endpoint's user information", () => {
  for (const endpoint of ['tcp://user:hunter2@127.0.0.1:7001', 'tcp://hunter2@[::1]:7001', 'ipc://user:hunter2@/path', 'hunter2']) {
    let error: unknown;
    try {
      new RaftClient({ clusterMembers: { 'node-1': endpoint }, capabilities: { role: 'test' } });
    } catch (thrown) {
      error = thrown;
    }
    // A path may contain any characters.
    if (!endpoint.startsWith('ipc:')) expect(error).toMatchObject({ code: 'VALIDATION' });
    if (error !== undefined)
      expect(
        shown(error)
          .join('\n')
          .replace(/at .*$/gm, ''),
      ).not.toContain('hunter2');
  }
});
