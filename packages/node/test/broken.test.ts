/** Every promise settles even if one half of the client fails, and no request gets another request's answer. */

import { getEventListeners } from 'node:events';

import { expect, onTestFinished, test } from 'vitest';
import { type ClosedError, type RaftClient, type TimeoutError } from 'zraft-client';

import { bytes, connectedClient, failureOf, newClient, next, startCluster, until } from './support/fixtures';
import type { NativeClient } from '../src/native';
import { native, Requests } from './support/internals';

const prototype = native.NativeClient.prototype as NativeClient;

/** Replaces a property until the test ends or the returned function is called. */
function replace<T extends object, K extends keyof T>(object: T, name: K, value: T[K]): () => void {
  const whole = Object.getOwnPropertyDescriptor(object, name) as PropertyDescriptor;
  Object.defineProperty(object, name, { ...whole, value });
  const restore = (): void => void Object.defineProperty(object, name, whole);
  onTestFinished(restore);
  return restore;
}

type Push = ReturnType<NativeClient['pusher']>;

/** Returns a client and a function after which its batches cannot be pushed. */
function fragileClient(cluster: Parameters<typeof newClient>[0]): { client: RaftClient; break: () => void } {
  let isOutOfOrder = false;
  const whole = Object.getOwnPropertyDescriptor(prototype, 'pusher')?.value as (this: NativeClient) => Push;
  const restore = replace(prototype, 'pusher', function (this: NativeClient): Push {
    const push = whole.call(this);
    return (batch, length) => {
      if (isOutOfOrder) throw new Error('out of order');
      return push(batch, length);
    };
  });
  const client = newClient(cluster);
  restore();
  return { client, break: () => (isOutOfOrder = true) };
}

test('everything pending settles when a batch cannot be pushed, and the session ends', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const { client, break: breakIt } = fragileClient(cluster);
  await client.connect();
  const disconnected = next(client, 'disconnected');
  await cluster.dropMessages('answers');
  await cluster.dropMessages('KeepAliveResponse');
  const late = (await failureOf(client.submitCommand(bytes('late'), { timeout: 10 }))) as TimeoutError;
  const waiting = [late.resolution(), client.submitCommand(bytes('x')), client.submitQuery(bytes('q')), client.ping()].map(failureOf);
  await cluster.journalReached(2);
  breakIt();
  // Long enough to be pushed at the call.
  waiting.push(failureOf(client.submitCommand(Buffer.alloc(100_000, 1))));
  const failures = await Promise.all(waiting);
  for (const failure of failures) {
    expect(failure).toMatchObject({ code: 'CLOSED', message: expect.stringContaining('out of order') });
  }
  // Commands may have been executed. A query is safe to repeat, and a ping is not a request.
  expect(failures.map((failure) => (failure as ClosedError).maybeExecuted)).toEqual([true, true, false, false, true]);
  // The driver must have ended: it could answer later requests in the same slots.
  expect(client.state).toBe('Disconnected');
  expect(client.sessionId).toBeUndefined();
  expect(await disconnected).toMatchObject({ reason: 'connectionLost', memberId: 'node-1' });
  await until(async () => (await cluster.sessions()).every((session) => !session.bound));
});

test('a request that fails while it is pushed leaves the signals of other requests alone', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const { client, break: breakIt } = fragileClient(cluster);
  await client.connect();
  await cluster.dropMessages('answers');
  const inner = new AbortController().signal;
  let submittedInside: Promise<unknown> | undefined;
  const hostile = Object.assign(new EventTarget(), {
    aborted: false,
    removeEventListener: () => (submittedInside ??= failureOf(client.submitCommand(bytes('inside'), { signal: inner }))),
  }) as unknown as AbortSignal;
  const first = failureOf(client.submitCommand(bytes('first'), { signal: hostile }));
  await cluster.journalReached(1);
  breakIt();
  const outer = new AbortController().signal;
  const long = failureOf(client.submitCommand(Buffer.alloc(100_000, 1), { signal: outer }));
  for (const failure of await Promise.all([first, long, submittedInside])) expect(failure).toMatchObject({ code: 'CLOSED' });
  expect(getEventListeners(outer, 'abort')).toHaveLength(0);
  expect(getEventListeners(inner, 'abort')).toHaveLength(0);
});

test('a payload that cannot be copied for want of memory fails alone, and every other request gets its own answer', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 200_000 });
  await cluster.setCommitDelay(20);
  const before = client.submitCommand(bytes('before'));
  const restore = replace(prototype, 'stage', () => {
    throw new Error('no memory');
  });
  // More in all than there is room for: a payload that was not copied takes none.
  for (let round = 0; round < 5; round++) expect(() => client.submitCommand(Buffer.alloc(100_000, 1))).toThrow('no memory');
  restore();
  const after = [client.submitCommand(Buffer.alloc(100_000, 2)), client.submitCommand(bytes('after'))];
  expect(String(await before)).toBe('before');
  expect((await Promise.all(after)).map((answer) => answer.length)).toEqual([100_000, 5]);
  expect(client.stats()).toMatchObject({ sent: 3, inFlight: 0, queued: 0 });
});

test('an answer that cannot be copied for want of memory ends the client with an error that says so, and no request gets another answer', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const disconnected = next(client, 'disconnected');
  await cluster.setCommitDelay(20);
  const answers = [10_000, 20_000, 30_000].map((length) => client.submitCommand(Buffer.alloc(length, length / 10_000)));
  const allocate = Buffer.allocUnsafeSlow.bind(Buffer);
  const restore = replace(Buffer, 'allocUnsafeSlow', (size) => {
    if (size === 20_000) throw new RangeError('Array buffer allocation failed');
    return allocate(size);
  });
  const outcomes = await Promise.all(answers.map((answer) => answer.catch((error: unknown) => error)));
  restore();
  expect(outcomes[0]).toEqual(Buffer.alloc(10_000, 1));
  for (const outcome of outcomes.slice(1)) {
    expect(outcome).toMatchObject({ code: 'CLOSED', maybeExecuted: true, message: expect.stringContaining('allocation failed') });
  }
  expect(client.state).toBe('Disconnected');
  expect(await disconnected).toMatchObject({ reason: 'connectionLost' });
  expect(await failureOf(client.submitCommand(bytes('x')))).toMatchObject({ code: 'CLOSED' });
  await client.disconnect();
});

test('an answer to an earlier use of a slot settles no later request', async () => {
  const requests = new Requests();
  const failure = { code: 'CLOSED', message: 'closed', maybeExecuted: true } as const;
  const first = failureOf(requests.add(1, false));
  const { slot, generation } = requests;
  requests.fail(slot, generation, failure);
  const second = requests.add(1, false);
  expect(requests.slot).toBe(slot);
  expect(requests.generation).not.toBe(generation);
  const stale = bytes('of the first');
  requests.answer(slot, generation, stale);
  requests.fail(slot, generation, failure);
  requests.detach(slot, generation, failure);
  requests.settleLate(slot, generation, stale);
  expect(requests.unsettled).toBe(1);
  requests.answer(slot, requests.generation, bytes('of the second'));
  expect(String(await second)).toBe('of the second');
  expect(await first).toMatchObject({ code: 'CLOSED' });
});

test('a late outcome of an earlier use of a slot settles no later request', async () => {
  const requests = new Requests();
  const failure = { code: 'TIMEOUT', message: 'timed out', maybeExecuted: true } as const;
  const first = failureOf(requests.add(1, false)) as Promise<TimeoutError>;
  const { slot, generation } = requests;
  requests.detach(slot, generation, failure);
  requests.settleLate(slot, generation, bytes('late'));
  expect(String(await (await first).resolution())).toBe('late');
  const second = failureOf(requests.add(1, false)) as Promise<TimeoutError>;
  const { generation: later } = requests;
  requests.detach(slot, later, failure);
  requests.settleLate(slot, generation, bytes('stale'));
  requests.settleLate(slot, later, bytes('its own'));
  expect(String(await (await second).resolution())).toBe('its own');
});
