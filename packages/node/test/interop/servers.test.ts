/** The client works with SERVERs of other implementations. */

import { expect, test } from 'vitest';
import { RaftClient } from 'zraft-client';

import { bytes, newClient, next, until } from '../support/fixtures';
import { type Make, makes, Peer } from './peer';

async function open(make: Make): Promise<{ peer: Peer; client: RaftClient }> {
  const peer = await Peer.server(make);
  const client = newClient({ clusterMembers: { 'node-1': peer.endpoint } }, { resendInterval: 100 });
  await client.connect();
  return { peer, client };
}

/** The position of an applied command and its payload. */
const applied = (answer: Buffer): [bigint, string] => [answer.readBigInt64BE(), answer.subarray(8).toString()];

for (const make of makes) {
  test(`${make.name}: a session runs from create to close, and each command is applied once and in order`, async () => {
    const { peer, client } = await open(make);
    const payloads = Array.from({ length: 1000 }, (_, index) => `command ${index + 1}`);
    const answers = await Promise.all(payloads.map((payload) => client.submitCommand(bytes(payload))));
    expect(answers.map(applied)).toEqual(payloads.map((payload, index) => [BigInt(index + 1), payload]));
    expect(await client.submitQuery(bytes('a query'))).toEqual(bytes('a query'));
    expect(await client.ping()).toBeGreaterThan(0);
    await client.disconnect();
    await peer.report('closed');
    expect(await peer.log()).toEqual(payloads.map((payload, index) => `${index + 1}: ${payload}`));
  });

  test(`${make.name}: a payload of 1 MiB is sent and answered`, async () => {
    const { client } = await open(make);
    const payload = Buffer.from(Array.from({ length: 1024 * 1024 }, (_, index) => index % 251));
    const answer = await client.submitCommand(payload);
    expect(answer.subarray(8).equals(payload)).toBe(true);
    expect((await client.submitQuery(payload)).equals(payload)).toBe(true);
  });

  test(`${make.name}: a command that the server drops is resent and applied once`, async () => {
    const { peer, client } = await open(make);
    await peer.command('drop 1');
    expect(applied(await client.submitCommand(bytes('again')))).toEqual([1n, 'again']);
    expect(client.stats().resent).toBeGreaterThan(0);
    expect(await peer.log()).toEqual(['1: again']);
  });

  test(`${make.name}: server requests arrive in order and are acknowledged`, async () => {
    const { peer, client } = await open(make);
    const seen: string[] = [];
    client.onServerRequest(({ requestId, payload }) => void seen.push(`${requestId} ${payload.toString()}`));
    for (const text of ['one', 'two', 'three']) await peer.command(`push ${bytes(text).toString('hex')}`);
    await until(() => seen.length === 3);
    expect(seen).toEqual(['1 one', '2 two', '3 three']);
    await peer.report('ack 3');
  });

  test(`${make.name}: a leader that steps down and leads again keeps the session`, async () => {
    const { peer, client } = await open(make);
    const session = client.sessionId;
    const connected = next(client, 'connected');
    await peer.command('close 2 -');
    expect(await connected).toMatchObject({ resumed: true });
    expect(client.sessionId).toBe(session);
    expect(applied(await client.submitCommand(bytes('after')))).toEqual([1n, 'after']);
  });

  test(`${make.name}: a session that the server ends is reported`, async () => {
    const { peer, client } = await open(make);
    const expired = next(client, 'sessionExpired');
    await peer.command('close 5 -');
    await expired;
    expect(client.state).toBe('Disconnected');
  });
}
