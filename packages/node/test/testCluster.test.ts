/** The embedded cluster as the tests of applications use it. */

import { createServer } from 'node:net';

import { expect, test } from 'vitest';
import { ClientMessageType, RaftClient, ServerMessageType, type SessionId, ValidationError } from 'zraft-client';
import { get, set } from 'zraft-client/kv';
import { type MessageClass, TestCluster } from 'zraft-client/testing';

import { bytes, connectedClient, failureOf, next, startCluster, until } from './support/fixtures';

test('its members have loopback endpoints, and the first leads', async () => {
  const cluster = await startCluster({ members: 3 });
  expect([...cluster.clusterMembers.keys()]).toEqual(['node-1', 'node-2', 'node-3']);
  for (const endpoint of cluster.clusterMembers.values()) expect(endpoint).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
  expect(await cluster.leaderElected()).toBe('node-1');
  expect(await cluster.leader()).toBe('node-1');
});

test('two clusters are independent', async () => {
  const [one, two] = await Promise.all([startCluster({ application: 'echo' }), startCluster({ application: 'echo' })]);
  const client = await connectedClient(one);
  await client.submitCommand(bytes('x'));
  expect([await one.executed(), await two.executed()]).toEqual([1, 0]);
});

test('stop closes the ports, may be called twice, and ends pending calls', async () => {
  const cluster = await TestCluster.start();
  const [endpoint] = cluster.clusterMembers.values();
  const waiting = failureOf(cluster.journalReached(1));
  await Promise.all([cluster.stop(), cluster.stop(), cluster[Symbol.asyncDispose]()]);
  expect(await waiting).toMatchObject({ message: 'the cluster has stopped' });
  expect(await failureOf(cluster.leader())).toMatchObject({ message: 'the cluster has stopped' });
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(endpoint?.split(':').pop()), '127.0.0.1', resolve);
  });
  server.close();
});

test('an unknown or invalid setting is refused by name', async () => {
  for (const options of [
    { member: 3 },
    { application: 'kvs' },
    { members: '3' },
    { commitDelay: -1 },
    { sessionTimeout: NaN },
    'kv',
    null,
  ]) {
    expect(await failureOf(TestCluster.start(options as never))).toBeInstanceOf(ValidationError);
  }
  expect(await failureOf(TestCluster.start({ basePort: 70_000 }))).toMatchObject({ message: expect.stringContaining('basePort') });
});

test('a switch for an unknown member rejects', async () => {
  const cluster = await startCluster();
  expect(await failureOf(cluster.kill('node-9'))).toBeInstanceOf(Error);
  expect(await failureOf(cluster.expireSession('unknown'))).toBeInstanceOf(Error);
});

test('a cluster that forgets its sessions denies them, and the client reports its doubt', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const doubted = next(client, 'sessionDoubted');
  await cluster.forgetSessions();
  expect(await cluster.sessions()).toEqual([]);
  await cluster.cutConnections();
  expect(await doubted).toMatchObject({ memberId: 'node-1' });
  await client.disconnect({ timeout: 0 });
  await client.connect();
  expect(await cluster.sessions()).toHaveLength(1);
});

test('the log gives each command its position', async () => {
  const cluster = await startCluster({ application: 'appendLog' });
  const client = await connectedClient(cluster);
  const answers = [await client.submitCommand(bytes('a')), await client.submitCommand(bytes('b'))];
  expect(answers[0]).not.toEqual(answers[1]);
  expect(await cluster.journal()).toMatchObject([
    { requestId: 1n, memberId: 'node-1', payload: bytes('a'), sessionId: client.sessionId },
    { requestId: 2n, memberId: 'node-1', payload: bytes('b'), sessionId: client.sessionId },
  ]);
});

test('the client follows when the leader steps down', async () => {
  const cluster = await startCluster({ members: 3 });
  const client = await connectedClient(cluster);
  const connected = next(client, 'connected');
  await cluster.moveLeadership('node-3');
  expect(await connected).toMatchObject({ memberId: 'node-3', resumed: true });
});

test('the client leaves a member that stops, and returns when it restarts', async () => {
  const cluster = await startCluster({ members: 3 });
  const client = await connectedClient(cluster, { heartbeatInterval: 50, heartbeatTimeout: 200 });
  const connected = next(client, 'connected');
  await cluster.stopMember('node-1');
  expect((await connected).memberId).not.toBe('node-1');
  await cluster.restart('node-1');
  await cluster.moveLeadership('node-1');
  await until(() => client.memberId === 'node-1' && client.state === 'Connected');
});

test('the heartbeat detects a frozen member', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, { heartbeatInterval: 20, heartbeatTimeout: 100 });
  const disconnected = next(client, 'disconnected');
  await cluster.setFrozen('node-1');
  expect(await disconnected).toMatchObject({ reason: 'heartbeatTimeout' });
  await cluster.setFrozen('node-1', false);
  await next(client, 'connected');
});

test('the KeepAlive detects a deaf member', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster, { keepAliveInterval: 50, connectionTimeout: 100 });
  const disconnected = next(client, 'disconnected');
  await cluster.setDeaf('node-1');
  expect(await disconnected).toMatchObject({ reason: 'keepAliveTimeout' });
});

test('a session without a sign of life expires', async () => {
  const cluster = await startCluster({ sessionTimeout: 50, expiryTick: 10 });
  const client = await connectedClient(cluster);
  await next(client, 'sessionExpired');
  expect(client.state).toBe('Disconnected');
});

test('without deduplication a copy of a command is executed again', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.setDeduplication(false);
  const client = await connectedClient(cluster, { resendInterval: 20 });
  await cluster.dropMessages('ClientResponse', 1);
  await client.submitCommand(bytes('x'));
  expect(await cluster.executed()).toBeGreaterThan(1);
});

test('the client finds the leader despite wrong hints', async () => {
  const cluster = await startCluster({ members: 3 });
  await cluster.moveLeadership('node-3');
  for (const hints of ['absent', 'itself', 'circular', { wrong: 'node-2' }] as const) {
    await cluster.setHints(hints);
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'test' } });
    await client.connect();
    expect(client.memberId).toBe('node-3');
    await client.disconnect();
  }
});

test('commitsPerSecond limits the commits of a leader', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.setCommitsPerSecond(50);
  const client = await connectedClient(cluster);
  const answers = Promise.all(Array.from({ length: 10 }, () => client.submitCommand(bytes('x'))));
  await cluster.setCommitsPerSecond(undefined);
  expect(await answers).toHaveLength(10);
});

test('a session that a stale leader does not know continues at the true leader', async () => {
  const cluster = await startCluster({ members: 3 });
  const client = await connectedClient(cluster);
  const session = client.sessionId as SessionId;
  await cluster.moveLeadership('node-2');
  await until(() => client.memberId === 'node-2' && client.state === 'Connected');
  await cluster.setStaleLeader('node-1');
  await cluster.setStaleSessionMap('node-1', []);
  await cluster.cutConnections();
  await client.submitQuery(get('key'));
  expect(client.sessionId).toBe(session);
});

test('dropMessages takes the name of every message and group', async () => {
  const cluster = await startCluster();
  const kinds = [ClientMessageType, ServerMessageType].flatMap((type) => Object.keys(type).filter((name) => !/^\d/.test(name)));
  expect(kinds).toHaveLength(17);
  for (const name of [...kinds, 'answers', 'allFromClients', 'allToClients']) await cluster.dropMessages(name as MessageClass, 0);
  expect(await failureOf(cluster.dropMessages('Answers' as never))).toBeInstanceOf(Error);
});

test('a killed leader loses the chosen commands, and each command is still executed once', async () => {
  for (const loss of ['unreceived', 'uncommitted', 'unanswered', 'mixed'] as const) {
    const cluster = await TestCluster.start({ application: 'echo', members: 3, electionPause: 10 });
    const client = await connectedClient(cluster, {
      resendInterval: 50,
      reconnectBackoff: { initial: 1, max: 5, electionInitial: 1, electionMax: 5 },
    });
    const answers = Promise.all(Array.from({ length: 20 }, (_, index) => client.submitCommand(bytes(`${index}`))));
    await cluster.kill('node-1', loss);
    await answers;
    expect(await cluster.executed(), loss).toBe(20);
    await client.disconnect();
    await cluster.stop();
  }
  const cluster = await startCluster();
  expect(await failureOf(cluster.kill('node-1', 'all' as never))).toMatchObject({ message: 'loss: unknown: all' });
});

test('commit delay, election pause and session timeout can be set while the cluster runs', async () => {
  const cluster = await startCluster({ application: 'echo', members: 3, expiryTick: 10 });
  const client = await connectedClient(cluster);
  await cluster.setCommitDelay(3_600_000);
  const late = failureOf(client.submitCommand(bytes('late'), { timeout: 100 }));
  expect(await late).toMatchObject({ code: 'TIMEOUT' });
  expect(await cluster.executed()).toBe(0);
  await cluster.setElectionPause(3_600_000);
  await cluster.stepDown();
  expect(await cluster.leader()).toBeUndefined();
  await client.disconnect({ timeout: 0 });

  const other = await startCluster({ expiryTick: 10 });
  const idle = await connectedClient(other);
  const expired = next(idle, 'sessionExpired');
  await other.setSessionTimeout(30);
  // The new session timeout counts from the next sign of life.
  await idle.ping();
  expect((await expired).type).toBe('sessionExpired');
});

test("stats count the cluster's work and the payloads that its application cannot decode", async () => {
  const cluster = await startCluster({ members: 3, application: 'kv' });
  const client = await connectedClient(cluster);
  const other = await connectedClient(cluster);
  await client.submitCommand(set('key', 'value'));
  await client.submitQuery(get('key'));
  await other.disconnect();
  await until(async () => (await cluster.stats()).sessionsClosed === 1);
  await cluster.stepDown('node-2');
  await cluster.leaderElected();
  const before = await cluster.stats();
  expect(before).toMatchObject({ executed: 1, queries: 1, sessionsCreated: 2, sessionsClosed: 1, elections: 1, closedRejectedPayload: 0 });
  expect(before.connections.handshakes).toBeGreaterThanOrEqual(2);

  const refused = failureOf(client.submitCommand(bytes('no command of the store')));
  await until(async () => (await cluster.stats()).closedRejectedPayload > 0);
  await client.disconnect({ timeout: 0 });
  await refused;
  await cluster.expireSession((await cluster.sessions())[0]?.sessionId ?? '').catch(() => undefined);
  const after = await cluster.stats();
  const counts = [after, after.connections].flatMap((counts) => Object.values(counts).filter((count) => typeof count === 'number'));
  expect(counts.every((count) => Number.isSafeInteger(count) && count >= 0)).toBe(true);
  expect(after.connections.bytesReceived).toBeGreaterThan(before.connections.bytesReceived);
});
