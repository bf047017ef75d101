/** The tracing channels `zraft:command`, `zraft:query` and `zraft:connect`. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';

import { expect, onTestFinished, test } from 'vitest';
import { ConnectionError, TimeoutError, type TracedCall, ValidationError } from 'zraft-client';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

type Operation = TracedCall['operation'];

/** Subscribes to a channel until the test ends, and records the events' names with a copy of the message. */
function record(operation: Operation): [name: string, message: TracedCall][] {
  const events: [string, TracedCall][] = [];
  const keep = (name: string) => (message: TracedCall) => {
    events.push([name, { ...message }]);
  };
  const channel = tracingChannel<unknown, TracedCall>(`zraft:${operation}`);
  const subscribers = {
    start: keep('start'),
    end: keep('end'),
    asyncStart: keep('asyncStart'),
    asyncEnd: keep('asyncEnd'),
    error: keep('error'),
  };
  channel.subscribe(subscribers);
  onTestFinished(() => {
    channel.unsubscribe(subscribers);
  });
  return events;
}

const namesOf = (events: readonly [string, TracedCall][]): string[] => events.map(([name]) => name);

test('a command, a query and connect() have the events of tracePromise()', async () => {
  const [connects, commands, queries] = [record('connect'), record('command'), record('query')];
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await client.submitCommand(bytes('12345'));
  await client.submitQuery(bytes('123'));
  for (const events of [connects, commands, queries]) expect(namesOf(events)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
  const endpoint = cluster.clusterMembers.get('node-1' as never);
  expect(connects[0]?.[1]).toEqual({ operation: 'connect', memberId: undefined, endpoint: undefined });
  expect(connects[3]?.[1]).toEqual({ operation: 'connect', memberId: 'node-1', endpoint });
  expect(commands[0]?.[1]).toEqual({ operation: 'command', payloadBytes: 5, memberId: 'node-1', endpoint });
  expect(queries[3]?.[1]).toEqual({ operation: 'query', payloadBytes: 3, memberId: 'node-1', endpoint });
});

test('the messages have neither payloads nor the session id', async () => {
  const events = [record('connect'), record('command'), record('query')];
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  await client.submitCommand(bytes('a secret payload'));
  await client.submitQuery(bytes('a secret payload'));
  const text = inspect(events, { depth: Infinity, showHidden: true });
  expect(text).toContain('payloadBytes: 16');
  expect(text).not.toContain('secret');
  expect(text).not.toContain(bytes('a secret payload').toString('hex').match(/../g)?.join(' '));
  expect(text).not.toContain(client.sessionId);
});

test('a call that fails has the error in its message, and rejects with it', async () => {
  const [connects, commands] = [record('connect'), record('command')];
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  const error = await failureOf(client.submitCommand(bytes('x'), { timeout: 20 }));
  expect(error).toBeInstanceOf(TimeoutError);
  expect(namesOf(commands)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
  expect(commands[2]?.[1].error).toBe(error);
  const unreachable = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  expect(await failureOf(unreachable.connect({ timeout: 50 }))).toBeInstanceOf(ConnectionError);
  expect(namesOf(connects.slice(4))).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
});

test('a call that throws at once has the events start, error and end', async () => {
  const commands = record('command');
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  expect(() => client.submitCommand(Buffer.alloc(0))).toThrow(ValidationError);
  expect(() => client.submitCommand('text' as never)).toThrow(ValidationError);
  expect(namesOf(commands)).toEqual(['start', 'error', 'end', 'start', 'error', 'end']);
  expect(commands[5]?.[1].error).toBeInstanceOf(ValidationError);
});

test('the error of a traced call shows the code that awaits it', async () => {
  record('command');
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  const callerOfTheClient = async (): Promise<void> => void (await client.submitCommand(bytes('x')));
  const error = (await failureOf(callerOfTheClient())) as Error;
  expect(error.stack).toContain('callerOfTheClient');
});

test('a store that is bound to the channel is there while the call is made', async () => {
  const storage = new AsyncLocalStorage<TracedCall>();
  const channel = tracingChannel<TracedCall, TracedCall>('zraft:command');
  channel.start.bindStore(storage, (message) => message);
  onTestFinished(() => void channel.start.unbindStore(storage));
  let seen: TracedCall | undefined;
  const see = (): void => void (seen ??= storage.getStore());
  subscribe('tracing:zraft:command:end', see);
  onTestFinished(() => void unsubscribe('tracing:zraft:command:end', see));
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  await client.submitCommand(bytes('x'));
  expect(seen).toMatchObject({ operation: 'command' });
});

test('a channel without subscribers gets no messages', async () => {
  const commands = record('command');
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  await client.submitQuery(bytes('x'));
  expect(commands).toEqual([]);
});
