import { expect, test } from 'vitest';
import { type ServerRequestHandler, type SessionId } from 'zraft-client';

import { bytes, collect, connectedClient, startCluster, until } from './support/fixtures';

const failures: [string, (error: Error) => ReturnType<ServerRequestHandler>][] = [
  [
    'throws',
    (error) => {
      throw error;
    },
  ],
  ['rejects', (error) => Promise.reject(error)],
];

for (const [how, fail] of failures) {
  for (const ackServerRequests of ['delivered', 'handled'] as const) {
    test(`a handler that ${how} emits handlerError and stops nothing (${ackServerRequests})`, async () => {
      const cluster = await startCluster({ application: 'echo' });
      const client = await connectedClient(cluster, { ackServerRequests });
      const session = client.sessionId as SessionId;
      const errors = collect(client, 'handlerError');
      const seen: string[] = [];
      const error = new Error('of the handler');
      client.onServerRequest(({ payload }) => {
        seen.push(payload.toString());
        return payload.equals(bytes('bad')) ? fail(error) : undefined;
      });
      const answer = client.submitCommand(bytes('beside'));
      for (const text of ['bad', 'good']) await cluster.pushServerRequest(session, bytes(text));
      await until(() => seen.length === 2 && errors.length === 1);
      expect(seen).toEqual(['bad', 'good']);
      expect(errors[0]?.error).toBe(error);
      expect(errors[0]?.request).toMatchObject({ requestId: 1n, payload: bytes('bad') });
      expect(await answer).toEqual(bytes('beside'));
      await until(async () => (await cluster.sessions())[0]?.unacknowledged === 0);
    });
  }
}

test('a handler may disconnect the client', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  const closed = new Promise<void>((resolve) => client.onServerRequest(() => client.disconnect().then(resolve)));
  await cluster.pushServerRequest(client.sessionId as SessionId, bytes('last'));
  await closed;
  expect(client.state).toBe('Disconnected');
});
