import { expect, test } from 'vitest';

import { plain } from '../dist/payloads.js';
import { bytes, connectedClient, newClient, startCluster } from './support/fixtures';

for (const length of [1, 3, 48, 49, 4096, 4097, 100_000]) {
  test(`the bytes of a payload are copied at the call: ${length} bytes`, async () => {
    const cluster = await startCluster({ application: 'echo' });
    const client = await connectedClient(cluster);
    const payload = Buffer.alloc(length, 1);
    const answers = [client.submitCommand(payload), client.submitQuery(payload)];
    payload.fill(2);
    const before = Buffer.alloc(length, 1);
    expect((await Promise.all(answers)).map((answer) => answer.equals(before))).toEqual([true, true]);
  });
}

test('the bytes of a payload that is queued before connect are copied at the call', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const connecting = client.connect();
  const payload = bytes('before');
  const answer = client.submitCommand(payload);
  payload.fill(0);
  await connecting;
  expect(await answer).toEqual(bytes('before'));
});

test('a payload may be any Uint8Array, also a view of a larger buffer', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const large = new Uint8Array(1000).map((_, index) => index % 251);
  expect(await client.submitCommand(large.subarray(500, 510))).toEqual(Buffer.from(large.subarray(500, 510)));
  expect(await client.submitCommand(new Uint8Array(new SharedArrayBuffer(4)))).toEqual(Buffer.alloc(4));
});

test('a payload in shared memory is copied before the native half reads it', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(1);
  const copy = plain(shared.subarray(2), 4);
  shared.fill(2);
  expect(copy).toEqual(Buffer.alloc(4, 1));
  const own = new Uint8Array(8);
  expect(plain(own, 8).buffer).toBe(own.buffer);
});

test('payloads of all lengths around the limits of the layout return unchanged', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const lengths = [1, 2, 3, 4, 5, 47, 48, 49, 255, 256, 4079, 4080, 4095, 4096, 4097, 8191, 8192, 8193, 16_384, 65_537];
  const payloads = lengths.map((length, index) => Buffer.alloc(length, index + 1));
  const answers = await Promise.all([
    ...payloads.map((payload) => client.submitCommand(payload)),
    ...payloads.map((payload) => client.submitQuery(payload)),
  ]);
  expect(answers.every((answer, index) => answer.equals(payloads[index % lengths.length] as Buffer))).toBe(true);
});
