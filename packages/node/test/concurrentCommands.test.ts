import { expect, test } from 'vitest';

import { bytes, connectedClient, startCluster } from './support/fixtures';

test('1,000 concurrent commands each get their own answer and are executed once and in order', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const payloads = Array.from({ length: 1000 }, (_, index) => bytes(`command ${index}`));
  const answers = await Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  expect(answers).toEqual(payloads);
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(payloads.map(String));
});

test('concurrent commands and queries each get their own answer', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const payloads = Array.from({ length: 500 }, (_, index) => bytes(`request ${index}`));
  const answers = await Promise.all(
    payloads.map((payload, index) => (index % 2 === 0 ? client.submitCommand(payload) : client.submitQuery(payload))),
  );
  expect(answers).toEqual(payloads);
});

test('an answer does not change when later answers arrive', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const kept: Buffer[] = [];
  for (let round = 0; round < 20; round++) {
    const fill = Array.from({ length: 100 }, (_, index) => Buffer.alloc(1 + index * 7, round));
    kept.push(...(await Promise.all(fill.map((payload) => client.submitQuery(payload)))));
  }
  expect(kept.every((answer, index) => answer.equals(Buffer.alloc(1 + (index % 100) * 7, Math.floor(index / 100))))).toBe(true);
});
