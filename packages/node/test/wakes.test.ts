/** Completions are gathered on the other side: however many there are, the event loop is woken for them together. */

import { expect, test } from 'vitest';

import { connectedClient, startCluster } from './support/fixtures';
import { native } from './support/internals';

test('however many answers come while the event loop is busy, they do not wake it for each', async () => {
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
  // The last of them may have been counted, and not gathered yet.
  expect(wakes).toBeLessThanOrEqual(3);
});
