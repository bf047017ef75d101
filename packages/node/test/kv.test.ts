import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';
import { type MemberId, ProtocolError, type SessionId, TypedClient, ValidationError } from 'zraft-client';
import { get, type Notification, readNotification, readValue, set, storeCodec, watch } from 'zraft-client/kv';

import { connectedClient, next, startCluster, until } from './support/fixtures';

interface Vector {
  readonly kind: string;
  readonly hex: string;
  readonly key?: string;
  /** Null if the key has no value. */
  readonly value?: string | null;
}

test('get returns the value that was set, and nothing for a key without one', async () => {
  const cluster = await startCluster();
  const client = await connectedClient(cluster);
  expect(readValue(await client.submitQuery(get('key')))).toBeUndefined();
  expect(await client.submitCommand(set('key', 'wert ✓'))).toHaveLength(0);
  expect(readValue(await client.submitQuery(get('key')))).toBe('wert ✓');
});

test('a watch reports the present value and each later one, also after a reconnect', async () => {
  const cluster = await startCluster({ redeliveryInterval: 50 });
  const client = await connectedClient(cluster);
  const seen: Notification[] = [];
  client.onServerRequest(({ payload }) => void seen.push(readNotification(payload)));
  await client.submitCommand(set('key', '1'));
  await client.submitCommand(watch('key'));
  await client.submitCommand(set('key', '2'));
  await until(() => seen.length === 2);
  const connected = next(client, 'connected');
  await cluster.cutConnections();
  expect(await connected).toMatchObject({ resumed: true });
  await client.submitCommand(set('key', '3'));
  await until(() => seen.length === 3);
  expect(seen).toEqual(['1', '2', '3'].map((value) => ({ key: 'key', value })));
});

test('an idle watch leaves a leader that was cut off and misses nothing', async () => {
  const cluster = await startCluster({ members: 3, redeliveryInterval: 50 });
  const livenessQuery = { payload: get('key'), interval: 50 };
  const watcher = await connectedClient(cluster, { livenessQuery, resendInterval: 100 });
  const seen: Notification[] = [];
  watcher.onServerRequest(({ payload }) => void seen.push(readNotification(payload)));
  await watcher.submitCommand(watch('key'));
  const cutOff = watcher.memberId as MemberId;
  await cluster.setStaleLeader(cutOff);
  const others = [...cluster.clusterMembers].filter(([id]) => id !== cutOff);
  const writer = await connectedClient(cluster, { clusterMembers: new Map(others) });
  await writer.submitCommand(set('key', 'value'));
  await until(() => seen.length === 1);
  expect(watcher.memberId).not.toBe(cutOff);
});

test('a typed client of the store has a liveness query, unless it is given another', async () => {
  const cluster = await startCluster({ members: 1 });
  const config = { clusterMembers: cluster.clusterMembers, capabilities: { role: 'test' }, sessionTimeout: 300, keepAliveInterval: 100 };
  for (const settings of [config, { ...config, livenessQuery: { payload: get('own'), interval: 10 } }]) {
    await using store = new TypedClient(settings, storeCodec);
    await store.connect();
    await until(() => store.client.stats().answered > 1);
  }
});

test('a watch ends with its session', async () => {
  const cluster = await startCluster();
  const watcher = await connectedClient(cluster);
  await watcher.submitCommand(watch('key'));
  await cluster.expireSession(watcher.sessionId as SessionId);
  const writer = await connectedClient(cluster);
  await writer.submitCommand(set('key', 'value'));
  expect((await cluster.sessions()).map(({ unacknowledged }) => unacknowledged)).toEqual([0]);
});

test('payloads have the bytes of the live store', () => {
  const lines = readFileSync(new URL('../../../testdata/kv-vectors.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n');
  const counts = new Map<string, number>();
  for (const { kind, key = '', value = '', hex } of lines.map((line) => JSON.parse(line) as Vector)) {
    const bytes = Buffer.from(hex, 'hex');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (kind === 'Notification') {
      expect(readNotification(bytes)).toEqual({ key, value });
    } else if (kind === 'GetResult') {
      expect(readValue(bytes) ?? null).toBe(value);
    } else if (key !== '' && Buffer.byteLength(key) <= 256 && (kind !== 'Set' || value !== '')) {
      // The live store takes these keys. This client's limits are narrower.
      expect((kind === 'Set' ? set(key, value as string) : kind === 'Get' ? get(key) : watch(key)).toString('hex')).toBe(hex);
    }
  }
  expect([...counts.keys()].sort()).toEqual(['Get', 'GetResult', 'Notification', 'Set', 'Watch']);
});

test('a key or value that the store cannot take is a ValidationError', () => {
  for (const encode of [
    () => set('', 'value'),
    () => get(''),
    () => watch(''),
    () => get('k'.repeat(257)),
    () => set('key', ''),
    () => set('key', 'v'.repeat(1024 * 1024 + 1)),
  ]) {
    expect(encode).toThrow(ValidationError);
  }
  expect(() => set('key', '\ud800')).toThrow(/surrogate/);
  expect(() => watch('\udc00')).toThrow(ValidationError);
  expect(() => get(5 as never)).toThrow(ValidationError);
  expect(set('é'.repeat(128), 'v')).toBeInstanceOf(Buffer);
  expect(() => get('é'.repeat(129))).toThrow(ValidationError);
});

test('bytes that are not an answer of the store are a ProtocolError', () => {
  for (const answer of [[], [0xff], [0xff, 0, 0, 0, 5, 1], [0xff, 0, 0, 0, 1, 0xff]]) {
    expect(() => readValue(Buffer.from(answer))).toThrow(ProtocolError);
  }
  for (const payload of [[], [0x4e], [0x53, 0, 0, 0, 1, 0x61]]) expect(() => readNotification(Buffer.from(payload))).toThrow(ProtocolError);
  expect(readValue(Buffer.from([0]))).toBeUndefined();
});
