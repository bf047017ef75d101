/** Many commands in one call. */

import { tracingChannel } from 'node:diagnostics_channel';

import { expect, onTestFinished, test } from 'vitest';
import {
  CancelledError,
  type CommandOutcome,
  NotConnectedError,
  OverloadedError,
  TimeoutError,
  type TracedCall,
  ValidationError,
} from 'zraft-client';
import { set } from 'zraft-client/kv';

import { bytes, connectedClient, newClient, startCluster, until } from './support/fixtures';
import { native } from './support/internals';

const numbered = (count: number): Buffer[] => Array.from({ length: count }, (_, index) => bytes(`command ${index}`));
const textOf = (outcome: CommandOutcome | undefined): unknown =>
  outcome?.status === 'fulfilled' ? outcome.value.toString() : outcome?.reason;

test('its commands are executed in order, and the outcomes are in the order of the payloads', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const outcomes = client.submitCommands(numbered(3000));
  expect(outcomes.length).toBe(3000);
  expect((await outcomes.settled()).map(textOf)).toEqual(numbered(3000).map(String));
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(numbered(3000).map(String));
});

test('the outcomes can be iterated over while commands are unanswered, more than once', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  const outcomes = client.submitCommands(numbered(200));
  let unsettledAtFirst = 0;
  const texts: unknown[] = [];
  for await (const outcome of outcomes) {
    if (texts.push(textOf(outcome)) === 1) unsettledAtFirst = 200 - client.stats().answered;
  }
  expect(texts).toEqual(numbered(200).map(String));
  expect(unsettledAtFirst).toBeGreaterThan(50);
  for await (const outcome of outcomes) texts.push(textOf(outcome));
  expect(texts.length).toBe(400);
  expect(await outcomes.settled()).toHaveLength(200);
});

test('an iteration gives each outcome once to callers that do not wait for the one before', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  const iterator = client.submitCommands(numbered(3))[Symbol.asyncIterator]();
  const results = await Promise.all(Array.from({ length: 5 }, () => iterator.next()));
  expect(results.map(({ value }) => textOf(value))).toEqual(['command 0', 'command 1', 'command 2', undefined, undefined]);
  expect(results.map(({ done }) => done)).toEqual([false, false, false, true, true]);
});

test('commands before and after the call keep their order', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  const before = client.submitCommand(bytes('before'));
  const outcomes = client.submitCommands([bytes('1'), bytes('2')]);
  const after = client.submitCommand(bytes('after'));
  await Promise.all([before, outcomes.settled(), after]);
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(['before', '1', '2', 'after']);
});

test('one call crosses the boundary once, however long its payloads are', async () => {
  const prototype = native.NativeClient.prototype as { allPusher: (this: object) => (batch: Buffer, length: number) => number };
  const { allPusher } = prototype;
  const pushed: number[] = [];
  prototype.allPusher = function () {
    const push = allPusher.call(this);
    return (batch, length) => {
      pushed.push(length);
      return push(batch, length);
    };
  };
  onTestFinished(() => void (prototype.allPusher = allPusher));
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  const lengths = [1, 4096, 4097, 100_000, 3, 1_000_000, ...Array.from({ length: 2000 }, (_, index) => (index % 60) + 1)];
  const payloads = lengths.map((length, index) => Buffer.alloc(length, index));
  const outcomes = await client.submitCommands(payloads).settled();
  for (const [index, outcome] of outcomes.entries()) {
    expect(outcome.status === 'fulfilled' && outcome.value.equals(payloads[index] as Buffer), `payload ${index}`).toBe(true);
  }
  expect(pushed).toHaveLength(1);
});

test('payloads of more bytes than cross together all arrive', async () => {
  const client = await connectedClient(await startCluster({ application: 'appendLog' }), { requestTimeout: 60_000 });
  const outcomes = await client.submitCommands(Array.from({ length: 9 }, () => Buffer.alloc(15 * 1024 * 1024, 1))).settled();
  expect(outcomes.map((outcome) => outcome.status === 'fulfilled' && outcome.value.readBigUInt64BE())).toEqual(
    Array.from({ length: 9 }, (_, index) => BigInt(index)),
  );
}, 60_000);

test('the bytes are copied at the call, from any iterable', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  const payload = bytes('first');
  const shared = new Uint8Array(new SharedArrayBuffer(6)).fill(65);
  const outcomes = client.submitCommands(new Set([payload, shared]));
  payload.write('other');
  shared.fill(66);
  expect((await outcomes.settled()).map(textOf)).toEqual(['first', 'AAAAAA']);
});

test('an empty batch has no outcomes', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  const outcomes = client.submitCommands([]);
  expect(await outcomes.settled()).toEqual([]);
  for await (const outcome of outcomes) throw new Error(`there is an outcome: ${outcome.status}`);
});

test('a payload that cannot be accepted is named, and nothing is submitted', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  const refused = (payloads: unknown): string => {
    try {
      client.submitCommands(payloads as never);
    } catch (error) {
      expect(error).toBeInstanceOf(ValidationError);
      return (error as Error).message;
    }
    throw new Error('it should have thrown');
  };
  expect(refused([bytes('good'), Buffer.alloc(0)])).toMatch(/^payload 1: /);
  expect(refused([bytes('good'), 'text'])).toBe('payload 1: must be a Uint8Array or a Buffer');
  expect(refused(bytes('bytes'))).toBe('payload 0: must be a Uint8Array or a Buffer');
  expect(refused(undefined)).toBe('the payloads must be an array, or another iterable');
  expect(refused(7)).toBe('the payloads must be an array, or another iterable');
  expect(() => client.submitCommands([bytes('good')], { timeout: -1 })).toThrow(ValidationError);
  expect(client.stats().sent).toBe(0);
});

test('commands for which there is no room are overloaded one by one, and the rest go', async () => {
  const client = await connectedClient(await startCluster({ application: 'echo' }), { maxQueuedBytes: 1000 });
  const outcomes = await client.submitCommands([Buffer.alloc(600, 65), Buffer.alloc(600, 66), Buffer.alloc(300, 67)]).settled();
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(textOf(outcomes[1])).toBeInstanceOf(OverloadedError);
  await client.ready();
  expect((await client.submitCommands([Buffer.alloc(600, 66)]).settled())[0]?.status).toBe('fulfilled');
});

test('each command fails by itself: refused, timed out with a late answer, or before connect()', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const outcomes = await client.submitCommands([set('a', '1'), bytes('not a command'), set('b', '2')]).settled();
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  // A replicated member answers a payload that it cannot decode with an error; the embedded cluster closes the connection.
  expect(textOf(outcomes[1])).toMatchObject({ code: expect.stringMatching(/^(QUARANTINED|RESPONSE_EVICTED)$/) });

  await cluster.dropMessages('answers');
  const late = await client.submitCommands([set('c', '3')], { timeout: 20 }).settled();
  const error = textOf(late[0]) as TimeoutError;
  expect(error).toBeInstanceOf(TimeoutError);
  expect(error.maybeExecuted).toBe(true);
  await cluster.deliverAll();
  expect(await error.resolution()).toBeInstanceOf(Buffer);

  const closed = newClient(cluster);
  expect(
    (await closed.submitCommands([bytes('x'), bytes('y')]).settled()).map((outcome) => textOf(outcome) instanceof NotConnectedError),
  ).toEqual([true, true]);
});

test('the signal cancels the commands that have no answer yet, with its reason', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  const controller = new AbortController();
  const outcomes = client.submitCommands(numbered(100), { signal: controller.signal });
  await until(() => client.stats().answered > 0);
  controller.abort('enough');
  const settled = await outcomes.settled();
  const failures = settled.filter(({ status }) => status === 'rejected').map((outcome) => textOf(outcome) as CancelledError);
  expect(failures.length).toBeGreaterThan(0);
  expect(failures.length).toBeLessThan(100);
  for (const failure of failures) {
    expect(failure).toBeInstanceOf(CancelledError);
    expect(failure.cause).toBe('enough');
  }
  const aborted = await client.submitCommands(numbered(2), { signal: controller.signal }).settled();
  expect(aborted.map((outcome) => (textOf(outcome) as CancelledError).maybeExecuted)).toEqual([false, false]);
});

test('each command of a batch is traced', async () => {
  const calls: TracedCall[] = [];
  const channel = tracingChannel<unknown, TracedCall>('zraft:command');
  const nothing = (): void => {};
  const subscribers = {
    start: (call: TracedCall): void => void calls.push(call),
    end: nothing,
    asyncStart: nothing,
    asyncEnd: nothing,
    error: nothing,
  };
  channel.subscribe(subscribers);
  onTestFinished(() => {
    channel.unsubscribe(subscribers);
  });
  const client = await connectedClient(await startCluster({ application: 'echo' }));
  expect((await client.submitCommands(numbered(3)).settled()).map(textOf)).toEqual(['command 0', 'command 1', 'command 2']);
  expect(calls.map(({ payloadBytes }) => payloadBytes)).toEqual([9, 9, 9]);
});

test('commands of a batch are executed once when the leader dies', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3, electionPause: 10 });
  const client = await connectedClient(cluster);
  const outcomes = client.submitCommands(numbered(500));
  await cluster.journalReached(50);
  await cluster.kill(await cluster.leaderElected(), 'mixed');
  expect((await outcomes.settled()).map(textOf)).toEqual(numbered(500).map(String));
  expect(await cluster.executed()).toBe(500);
});
