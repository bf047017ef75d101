import { expect, test } from 'vitest';

import { connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

test('ping gives the round-trip time to the leader in milliseconds', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const times = await Promise.all([client.ping(), client.ping(), client.ping()]);
  for (const time of times) {
    expect(time).toBeGreaterThan(0);
    expect(time).toBeLessThan(10_000);
  }
});

test('ping rejects when the client is closed before the answer', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  await cluster.dropMessages('KeepAliveResponse');
  const ping = failureOf(client.ping());
  await client.disconnect({ timeout: 10 });
  expect(await ping).toMatchObject({ code: 'CLOSED', maybeExecuted: false });
});

test('ping rejects when there is no session', async () => {
  const cluster = await startCluster();
  expect(await failureOf(newClient(cluster).ping())).toMatchObject({ code: 'NOT_CONNECTED' });
});
