/** Values made in another realm are accepted: some test runners and plug-in hosts make such values. */

import { runInNewContext } from 'node:vm';

import { expect, test } from 'vitest';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

test('a payload may come from another realm', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const payload = runInNewContext('new Uint8Array([1, 2, 3])') as Uint8Array;
  expect(payload instanceof Uint8Array).toBe(false);
  expect(await client.submitCommand(payload)).toEqual(Buffer.from([1, 2, 3]));
});

test('settings and options may come from another realm', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const [endpoint] = cluster.clusterMembers.values();
  const foreign = runInNewContext("({ clusterMembers: new Map([['node-1', endpoint]]), capabilities: new Map([['role', 'test']]) })", {
    endpoint,
  }) as { clusterMembers: Map<string, string>; capabilities: Map<string, string> };
  const client = newClient(foreign, { capabilities: foreign.capabilities });
  await client.connect(runInNewContext('({ timeout: 5000 })') as object);
  expect(await client.submitQuery(bytes('x'))).toEqual(bytes('x'));
});

test('a signal may be of another class', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  const signal = Object.assign(new EventTarget(), { aborted: false, reason: 'because' });
  const request = failureOf(client.submitQuery(bytes('x'), { signal: signal as never }));
  signal.dispatchEvent(new Event('abort'));
  expect(await request).toMatchObject({ code: 'CANCELLED', cause: 'because' });
});
