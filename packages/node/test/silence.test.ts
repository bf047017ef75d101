import { expect, test } from 'vitest';

import { printed, runProgram } from './support/program';

test('the library prints nothing in normal work and in failures', async () => {
  const outcome = await runProgram(`
    const cluster = await TestCluster.start({ application: 'echo', members: 3, redeliveryInterval: 20 });
    const late = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    await late.connect({ timeout: 20 }).catch(() => {});
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities, resendInterval: 50, maxQueued: 50 });
    client.onServerRequest(() => { throw new Error('of the handler'); });
    const { signal } = new AbortController();
    await client.connect({ signal });
    const session = client.sessionId;
    const all = (count) => Promise.allSettled(Array.from({ length: count }, () => client.submitCommand(Buffer.from('x'), { signal })));
    await all(1000);
    await cluster.pushServerRequest(session, Buffer.from('x'));
    const pending = all(40);
    await cluster.cutConnections();
    await pending;
    await cluster.stepDown();
    await all(40);
    await cluster.dropMessages('answers');
    await Promise.allSettled([client.submitCommand(Buffer.from('x'), { timeout: 10 }), client.submitQuery(Buffer.from('x'), { timeout: 10 })]);
    const last = all(40);
    await cluster.expireSession(session);
    await last;
    await client.connect();
    await client.disconnect();
    await cluster.stop();
    `);
  expect(outcome).toEqual(printed());
});
