import { expect, test } from 'vitest';

import { bytes, newClient, startCluster, until } from './support/fixtures';

test('a client that is given one member learns the others and goes on when that one is gone', async () => {
  const cluster = await startCluster({ members: 3, application: 'echo' });
  const leader = await cluster.leaderElected();
  const endpoint = cluster.clusterMembers.get(leader) as string;
  const client = newClient({ clusterMembers: { [leader]: endpoint } }, { discoverMembers: true });
  await client.connect();
  await until(() => client.stats().answered === 1);
  await cluster.kill(leader);
  expect(await client.submitCommand(bytes('on'))).toEqual(bytes('on'));
  expect(client.memberId).not.toBe(leader);
});
