import { expect, test } from 'vitest';
import { type MemberId, ValidationError } from 'zraft-client';

import { bytes, connectedClient, newClient, next, startCluster, until } from './support/fixtures';

/** A port of this computer at which nothing listens. */
const NOWHERE = { nowhere: 'tcp://127.0.0.1:1' };

test('the session goes on at a member that was added', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3 });
  const members = [...cluster.clusterMembers];
  const client = await connectedClient(cluster, { clusterMembers: new Map(members.slice(0, 1)) });
  const session = client.sessionId;
  client.updateMembers(new Map(members.slice(1)));
  expect(await client.submitCommand(bytes('a'))).toEqual(bytes('a'));
  expect(client.memberId).toBe('node-1');
  const connected = next(client, 'connected');
  await cluster.stepDown('node-3');
  expect(await connected).toMatchObject({ resumed: true, memberId: 'node-3' });
  expect(client.sessionId).toBe(session);
});

test('connect() that finds no member succeeds with a new list, and so does the next one', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient({ clusterMembers: NOWHERE });
  const failed = next(client, 'connectionFailure');
  const connecting = client.connect();
  await failed;
  client.updateMembers(cluster.clusterMembers);
  await connecting;
  await client.disconnect();
  await client.connect();
  await client.disconnect();
});

test('a list that is given before connect() counts', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient({ clusterMembers: NOWHERE });
  client.updateMembers(cluster.clusterMembers);
  await client.connect();
  await client.disconnect();
});

/** The way in which an application follows a hint at a member that is not configured. */
test('a leader that is not configured is found once the application adds it', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3 });
  await cluster.stepDown('node-3');
  const directory = cluster.clusterMembers;
  const known = new Map([...directory].slice(0, 1));
  const client = newClient({ clusterMembers: known });
  client.on('connectionFailure', ({ error: { leaderId } }) => {
    const endpoint = leaderId === undefined ? undefined : directory.get(leaderId);
    if (leaderId !== undefined && endpoint !== undefined) client.updateMembers(known.set(leaderId, endpoint));
  });
  await client.connect();
  expect(client.memberId).toBe('node-3');
});

test('a list that the constructor would refuse throws and changes nothing', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  for (const refused of [{}, { 'node-1': 'nonsense' }, { 'node-1': 'tls://127.0.0.1:1' }, { 'node-1': 7 as never }, null as never]) {
    expect(() => {
      client.updateMembers(refused);
    }).toThrow(ValidationError);
  }
  await client.disconnect();
  await client.connect();
});

test("the application's resolver finds leaders that are not configured", async () => {
  const cluster = await startCluster({ application: 'echo', members: 3 });
  await cluster.stepDown('node-3');
  const directory = cluster.clusterMembers;
  const asked: string[] = [];
  const resolveMember = (id: MemberId): Promise<string | undefined> => {
    asked.push(id);
    return asked.length === 1 ? Promise.reject(new Error('of the directory')) : Promise.resolve(directory.get(id));
  };
  const client = newClient({ clusterMembers: new Map([...directory].slice(0, 1)) }, { resolveMember });
  await client.connect();
  expect(client.memberId).toBe('node-3');
  expect(asked).toEqual(['node-3', 'node-3']);
});

test('the members of a name are its addresses', async () => {
  const cluster = await startCluster({ application: 'echo', members: 1 });
  const [endpoint] = [...cluster.clusterMembers.values()];
  const { port } = new URL(endpoint as string);
  const client = newClient({ clusterMembers: {} }, { membersFromDns: `tcp://localhost:${port}` });
  await client.connect();
  // The name is resolved while the client connects, or at the latest when it connects again.
  await until(async () => {
    const connected = next(client, 'connected');
    await cluster.cutConnections();
    return (await connected).endpoint === `tcp://127.0.0.1:${port}`;
  });
});
