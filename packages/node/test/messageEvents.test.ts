import { expect, test } from 'vitest';
import type { ClientMessage, CreateSession, MessageSentEvent, RaftClient, ServerMessage, SessionId } from 'zraft-client';

import { bytes, connectedClient, newClient, startCluster, until } from './support/fixtures';

test('messageSent and messageReceived show every message with the fields of the protocol', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster, { capabilities: new Map([['role', 'test']]) });
  const sent: ClientMessage[] = [];
  const received: ServerMessage[] = [];
  client.on('messageSent', ({ message }) => sent.push(message));
  client.on('messageReceived', ({ message }) => received.push(message));
  client.onServerRequest(() => {});
  await client.connect();
  const session = client.sessionId as SessionId;
  await client.submitCommand(bytes('command'));
  await client.submitQuery(bytes('query'));
  await client.ping();
  await cluster.pushServerRequest(session, bytes('request'));
  await until(() => sent.some(({ type }) => type === 'ServerRequestAck'));
  await cluster.cutConnections();
  await until(() => received.some(({ type }) => type === 'SessionContinued'));
  await client.disconnect();

  const find = <M extends { type: string }>(messages: M[], type: M['type']): M | undefined =>
    messages.find((message) => message.type === type);
  const created = find(sent, 'CreateSession') as CreateSession;
  expect([...created.capabilities]).toEqual([['role', 'test']]);
  expect(created.nonce).toEqual(expect.any(BigInt));
  expect(find(sent, 'ClientRequest')).toMatchObject({
    requestId: 1n,
    lowestPendingRequestId: 1n,
    payload: bytes('command'),
    createdAt: expect.any(Date),
  });
  expect(find(sent, 'Query')).toMatchObject({ correlationId: expect.any(String), payload: bytes('query'), createdAt: expect.any(Date) });
  expect(find(sent, 'KeepAlive')).toMatchObject({ timestamp: expect.any(Date) });
  expect(find(sent, 'ServerRequestAck')).toMatchObject({ requestId: 1n });
  expect(find(sent, 'ContinueSession')).toMatchObject({ nonce: expect.any(BigInt) });
  expect(find(sent, 'CloseSession')).toMatchObject({ reason: 'ClientShutdown' });
  expect(find(received, 'SessionCreated')).toMatchObject({ nonce: expect.any(BigInt) });
  expect(find(received, 'ClientResponse')).toMatchObject({ requestId: 1n, result: bytes('command') });
  expect(find(received, 'QueryResponse')).toMatchObject({ correlationId: expect.any(String), result: bytes('query') });
  expect(find(received, 'KeepAliveResponse')).toMatchObject({ timestamp: expect.any(Date) });
  expect(find(received, 'ServerRequest')).toMatchObject({ requestId: 1n, payload: bytes('request'), createdAt: expect.any(Date) });
  expect(find(received, 'SessionContinued')).toMatchObject({ nonce: expect.any(BigInt) });
});

const ways: [string, (client: Awaited<ReturnType<typeof connectedClient>>, listener: (event: MessageSentEvent) => void) => void][] = [
  ['off', (client, listener) => client.off('messageSent', listener)],
  ['removeListener', (client, listener) => client.removeListener('messageSent', listener)],
  ['removeAllListeners', (client) => client.removeAllListeners('messageSent')],
  ['removeAllListeners of every event', (client) => client.removeAllListeners()],
];

/** Counts the events that a client emits, with or without a listener. Returns a function of the event's name. */
function countEmitted(client: RaftClient): (name: string) => number {
  const names: string[] = [];
  const emit = client.emit.bind(client);
  client.emit = (name: string | symbol, ...rest: unknown[]) => {
    names.push(String(name));
    return emit(name, ...rest);
  };
  return (name) => names.filter((each) => each === name).length;
}

test.each(ways)('messages are emitted only while there is a listener: %s', async (_, leave) => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const emitted = countEmitted(client);
  const seen: bigint[] = [];
  const listener = ({ message }: MessageSentEvent): void => {
    if (message.type === 'ClientRequest') seen.push(message.requestId);
  };
  await client.submitCommand(bytes('1'));
  client.on('messageSent', listener);
  await client.submitCommand(bytes('2'));
  leave(client, listener);
  const before = emitted('messageSent');
  expect(before).toBeGreaterThan(0);
  await client.submitCommand(bytes('3'));
  expect(emitted('messageSent')).toBe(before);
  client.prependListener('messageSent', listener);
  await client.submitCommand(bytes('4'));
  client.off('messageSent', listener);
  client.once('messageSent', listener);
  await client.submitCommand(bytes('5'));
  await client.submitCommand(bytes('6'));
  client.prependOnceListener('messageSent', listener);
  await client.submitCommand(bytes('7'));
  await client.submitCommand(bytes('8'));
  expect(seen).toEqual([2n, 4n, 5n, 7n]);
});

test('without a listener no message is made', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const emitted = countEmitted(client);
  await client.submitCommand(bytes('x'));
  await client.disconnect();
  expect(emitted('messageSent')).toBe(0);
  expect(emitted('messageReceived')).toBe(0);
  expect(emitted('disconnected')).toBe(1);
});

test('a message has a leaderId only if the server names a leader', async () => {
  const cluster = await startCluster({ members: 2 });
  const client = await connectedClient(cluster);
  const received: ServerMessage[] = [];
  client.on('messageReceived', ({ message }) => received.push(message));
  const closed = (): ServerMessage[] => received.filter(({ type }) => type === 'SessionClosed');
  await cluster.setHints('absent');
  await cluster.stepDown('node-2');
  await until(() => closed().length === 1 && client.state === 'Connected');
  expect(closed()[0]).toMatchObject({ reason: 'NotLeaderAnymore' });
  expect(Object.keys(closed()[0] as ServerMessage).sort()).toEqual(['reason', 'type']);
});
