/** The native half collects completions and wakes the event loop once for all of them. */

import { expect, test } from 'vitest';

import { connectedClient, startCluster } from './support/fixtures';
import { native } from './support/internals';

test('many answers wake a busy event loop together', async () => {
  const cluster = await startCluster({ application: 'echo', commitDelay: 0 });
  const Original = native.NativeClient;
  let wakes = 0;
  const counting = new Proxy(Original, {
    construct: (made, [settings, wake]: [string, () => void]) =>
      new made(settings, () => {
        wakes += 1;
        wake();
      }),
  });
  Object.assign(native, { NativeClient: counting });
  const client = await connectedClient(cluster).finally(() => Object.assign(native, { NativeClient: Original }));
  await client.ping();
  wakes = 0;
  const before = client.stats().answered;
  const answers = Array.from({ length: 5000 }, (_, index) => client.submitQuery(Buffer.from(`${index}`)));
  while (client.stats().answered - before < answers.length);
  expect(wakes).toBe(0);
  expect((await Promise.all(answers)).map(String)).toEqual(answers.map((_, index) => `${index}`));
  // The last answers may have been counted before they were in the outbox.
  expect(wakes).toBeLessThanOrEqual(3);
});
