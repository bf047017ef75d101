/** Every promise settles, also where the native half fails. */

import { expect, test } from 'vitest';
import { type ClosedError, type TimeoutError } from 'zraft-client';

import { bytes, connectedClient, failureOf, startCluster } from './support/fixtures';
import { native } from './support/internals';

test('all that waits settles when the native half takes nothing any more', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  await cluster.dropMessages('KeepAliveResponse');
  const late = (await failureOf(client.submitCommand(bytes('late'), { timeout: 10 }))) as TimeoutError;
  const waiting = [late.resolution(), client.submitCommand(bytes('x')), client.submitQuery(bytes('q')), client.ping()].map(failureOf);
  const prototype = native.NativeClient.prototype;
  const whole = Object.getOwnPropertyDescriptor(prototype, 'pushBeside') as PropertyDescriptor;
  const fails = (): never => {
    throw new Error('out of order');
  };
  Object.defineProperty(prototype, 'pushBeside', { ...whole, value: fails });
  // Long enough to be handed over at the call.
  waiting.push(failureOf(client.submitCommand(Buffer.alloc(100_000, 1))));
  Object.defineProperty(prototype, 'pushBeside', whole);
  const failures = await Promise.all(waiting);
  for (const failure of failures) {
    expect(failure).toMatchObject({ code: 'CLOSED', message: expect.stringContaining('out of order') });
  }
  // Commands may have been executed; a query is safe to repeat, and a ping no request.
  expect(failures.map((failure) => (failure as ClosedError).maybeExecuted)).toEqual([true, true, false, false, true]);
});
