import { expect, test } from 'vitest';
import { type SessionId } from 'zraft-client';
import { set } from 'zraft-client/kv';

import { connectedClient, startCluster } from './support/fixtures';
import { printed, startProgram } from './support/program';

test('a session is kept while the event loop is blocked for longer than the session timeout, and its watch still notifies', async () => {
  const cluster = await startCluster({ sessionTimeout: 3000, expiryTick: 100 });
  const program = startProgram(
    `
    import { readNotification, watch } from 'zraft-client/kv';
    const client = new RaftClient({ clusterMembers, capabilities, sessionTimeout: 3000, keepAliveInterval: 1000 });
    client.on('disconnected', ({ reason }) => reason !== 'closed' && console.log(reason));
    client.onServerRequest(({ payload }) => {
      const { key, value } = readNotification(payload);
      console.log(key, value, client.sessionId === session);
      client.disconnect();
    });
    await client.connect();
    const session = client.sessionId;
    await client.submitCommand(watch('key'));
    const end = performance.now() + 10_000;
    while (performance.now() < end);
    console.log('awake');
    `,
    cluster,
  );
  await program.printed('awake');
  const sessions = (await cluster.sessions()).map(({ sessionId }) => sessionId);
  expect(sessions).toHaveLength(1);
  const writer = await connectedClient(cluster, { sessionTimeout: 3000, keepAliveInterval: 1000 });
  await writer.submitCommand(set('key', 'value'));
  expect(await program.ended()).toEqual(printed('awake', 'key value true'));
  expect((await cluster.sessions()).map(({ sessionId }) => sessionId)).not.toContain(sessions[0] as SessionId);
}, 60_000);
