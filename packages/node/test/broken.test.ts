/** Every promise settles, also where the native half fails. */

import { expect, test } from 'vitest';
import { type TimeoutError } from 'zraft-client';

import { bytes, connectedClient, failureOf, startCluster } from './support/fixtures';
import { native } from './support/internals';

test('all that waits settles when the native half takes nothing any more', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  await cluster.dropMessages('KeepAliveResponse');
  const late = (await failureOf(client.submitCommand(bytes('late'), { timeout: 10 }))) as TimeoutError;
  const waiting = [late.resolution(), client.submitCommand(bytes('x')), client.ping()].map(failureOf);
  const prototype = native.NativeClient.prototype;
  const whole = Object.getOwnPropertyDescriptor(prototype, 'pushBeside') as PropertyDescriptor;
  const fails = (): never => {
    throw new Error('out of order');
  };
  Object.defineProperty(prototype, 'pushBeside', { ...whole, value: fails });
  // Long enough to be handed over at the call.
  waiting.push(failureOf(client.submitCommand(Buffer.alloc(100_000, 1))));
  Object.defineProperty(prototype, 'pushBeside', whole);
  for (const failure of await Promise.all(waiting)) {
    expect(failure).toMatchObject({ code: 'CLOSED', message: expect.stringContaining('out of order') });
  }
});
