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
  const answers: Promise<Buffer>[] = [];
  // Each wave is answered before the next, so the native half delivers at least once for each.
  for (let wave = 0; wave < 50; wave++) {
    for (let index = 0; index < 100; index++) answers.push(client.submitQuery(Buffer.from(`${answers.length}`)));
    while (client.stats().answered - before < answers.length);
  }
  expect(wakes).toBe(0);
  expect((await Promise.all(answers)).map(String)).toEqual(answers.map((_, index) => `${index}`));
  // Further wakes would be in the queue behind the first one, which has delivered all answers.
  await new Promise(setImmediate);
  // The last answers may have been counted before they were in the outbox.
  expect(wakes).toBeLessThanOrEqual(3);
});
