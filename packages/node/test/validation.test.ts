import { inspect } from 'node:util';

import { expect, test } from 'vitest';
import { ClientConfig, RaftClient, ValidationError } from 'zraft-client';

import { bytes, connectedClient, newClient, startCluster } from './support/fixtures';

const good: ClientConfig = { clusterMembers: { 'node-1': 'tcp://127.0.0.1:7001' }, capabilities: { role: 'test' } };

const bad: [string, object, RegExp][] = [
  ['no members', { clusterMembers: {} }, /clusterMembers/],
  ['no capabilities', { capabilities: new Map() }, /capabilities/],
  ['members as a string', { clusterMembers: 'tcp://127.0.0.1:7001' }, /clusterMembers/],
  ['members that are a list', { clusterMembers: ['tcp://127.0.0.1:7001'] }, /clusterMembers: must be a Map or an object/],
  ['a member whose name is a number', { clusterMembers: new Map([[1, 'tcp://127.0.0.1:7001']]) }, /clusterMembers: names must be strings/],
  ['capabilities that are a list', { capabilities: ['role'] }, /capabilities: must be a Map or an object/],
  ['an endpoint that is a number', { clusterMembers: { 'node-1': 7001 } }, /clusterMembers.*node-1/],
  ['an endpoint without a port', { clusterMembers: { 'node-1': 'tcp://127.0.0.1' } }, /node-1/],
  ['an endpoint of another kind', { clusterMembers: { 'node-1': 'http://127.0.0.1:7001' } }, /node-1/],
  ['a capability name with a space', { capabilities: { 'a b': 'c' } }, /capabilit/],
  ['an empty capability value', { capabilities: { role: '' } }, /capabilit/],
  ['a time of zero', { connectionTimeout: 0 }, /connectionTimeout/],
  ['a negative time', { requestTimeout: -1 }, /requestTimeout/],
  ['a time that is a string', { requestTimeout: '10' }, /requestTimeout/],
  ['a time that is NaN', { resendInterval: NaN }, /resendInterval/],
  ['an infinite time other than requestTimeout', { connectionTimeout: Infinity }, /connectionTimeout/],
  ['keep-alives too rare for the session timeout', { keepAliveInterval: 30_001 }, /keepAliveInterval/],
  ['a window of zero', { maxInFlight: 0 }, /maxInFlight/],
  ['a fraction of a request', { maxQueued: 1.5 }, /maxQueued/],
  ['an unknown choice', { ackServerRequests: 'never' }, /ackServerRequests/],
  ['another unknown choice', { onSessionExpired: 'exit' }, /onSessionExpired/],
  ['an unknown setting', { keepAliveIntervall: 1 }, /keepAliveIntervall/],
  ['a back-off that is a number', { reconnectBackoff: 5 }, /reconnectBackoff/],
  ['an unknown back-off', { reconnectBackoff: { start: 5 } }, /reconnectBackoff\.start/],
  ['a CA of more than 4 MiB', { tls: { ca: ' '.repeat((4 << 20) + 1) } }, /tls\.ca: must not be longer than 4 MiB, and is 4194305 long/],
  ['a key of more than 4 MiB', { tls: { ca: '', key: new Uint8Array((4 << 20) + 1) } }, /tls\.key: must not be longer than 4 MiB/],
  ['a liveness query that is bytes', { livenessQuery: Buffer.from('q') }, /livenessQuery/],
  ['a liveness query without a payload', { livenessQuery: {} }, /livenessQuery\.payload: must be a Uint8Array/],
  ['an empty liveness query', { livenessQuery: { payload: Buffer.alloc(0) } }, /livenessQuery: its payload must have 1 to/],
  ['a liveness query of more than 64 KiB', { livenessQuery: { payload: Buffer.alloc(65_537) } }, /livenessQuery\.payload: .*64 KiB/],
  [
    'liveness queries too rare',
    { livenessQuery: { payload: Buffer.from('q'), interval: 30_001 } },
    /livenessQuery: .*third of `sessionTimeout`/,
  ],
  ['an interval that is a string', { livenessQuery: { payload: Buffer.from('q'), interval: '5' } }, /livenessQuery\.interval/],
  ['an unknown part of a liveness query', { livenessQuery: { payload: Buffer.from('q'), every: 5 } }, /livenessQuery\.every/],
  ['a resolver that is a string', { resolveMember: 'dns' }, /resolveMember: must be a function/],
  ['a name without a scheme', { membersFromDns: 'db:7001' }, /membersFromDns: must be tcp/],
  ['a name without a port', { membersFromDns: 'tcp://db' }, /membersFromDns: must be tcp/],
  ['a switch that is a number', { discoverMembers: 1 }, /discoverMembers: must be a boolean/],
  ['a back-off that is a string', { reconnectBackoff: { initial: 'soon' } }, /reconnectBackoff\.initial/],
];

for (const [what, settings, named] of bad) {
  test(`the constructor throws a ValidationError that names the setting: ${what}`, () => {
    const config = { ...good, ...settings };
    expect(() => new RaftClient(config)).toThrow(ValidationError);
    expect(() => new RaftClient(config)).toThrow(named);
    expect(() => ClientConfig.validate(config)).toThrow(named);
  });
}

test('a configuration that is not an object is a ValidationError', () => {
  expect(() => new RaftClient(undefined as never)).toThrow(ValidationError);
  expect(() => new RaftClient(null as never)).toThrow(ValidationError);
});

test('a valid configuration passes, and undefined settings have their defaults', () => {
  ClientConfig.validate({ ...good, requestTimeout: Infinity, maxInFlight: undefined });
});

test('an endpoint with user information is refused, and the message does not show it', () => {
  const config: ClientConfig = { ...good, clusterMembers: { 'node-1': 'tcp://user:hunter2@127.0.0.1:7001' } };
  let error: unknown;
  try {
    new RaftClient(config);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(ValidationError);
  expect((error as Error).message).toMatch(/node-1/);
  expect(inspect(error) + JSON.stringify(error)).not.toMatch(/hunter2|user:/);
});

const payloads: [string, unknown][] = [
  ['a string', 'text'],
  ['an array', [1, 2, 3]],
  ['an ArrayBuffer', new ArrayBuffer(4)],
  ['nothing', undefined],
  ['null', null],
  ['an empty payload', new Uint8Array(0)],
];

for (const [what, payload] of payloads) {
  test(`a payload that cannot be sent throws synchronously: ${what}`, () => {
    const client = new RaftClient(good);
    expect(() => client.submitCommand(payload as Uint8Array)).toThrow(ValidationError);
    expect(() => client.submitQuery(payload as Uint8Array)).toThrow(ValidationError);
    expect(client.stats()).toMatchObject({ sent: 0, notExecuted: 0 });
  });
}

test('an invalid timeout or signal throws synchronously', () => {
  const client = new RaftClient(good);
  for (const options of [{ timeout: -1 }, { timeout: NaN }, { timeout: '1' }, { signal: {} }, 5, null]) {
    expect(() => client.submitCommand(bytes('x'), options as never)).toThrow(ValidationError);
    expect(() => client.submitQuery(bytes('x'), options as never)).toThrow(ValidationError);
    expect(() => client.connect(options as never)).toThrow(ValidationError);
  }
  expect(() => client.disconnect({ timeout: -1 })).toThrow(ValidationError);
});

test('a payload of exactly maxMessageSize is sent, and one byte more throws', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxMessageSize: 10_000 });
  const payload = Buffer.alloc(10_000, 7);
  expect(await client.submitCommand(payload)).toEqual(payload);
  expect(await client.submitQuery(payload)).toEqual(payload);
  expect(() => client.submitCommand(Buffer.alloc(10_001))).toThrow(/10001 bytes.*`maxMessageSize`, which is 10000/);
  expect(() => client.submitQuery(Buffer.alloc(10_001))).toThrow(ValidationError);
});

test('a payload longer than maxQueuedBytes is refused with an error that names that limit', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxQueuedBytes: 1000 });
  expect(() => client.submitCommand(Buffer.alloc(1001))).toThrow(ValidationError);
  expect(() => client.submitQuery(Buffer.alloc(1001))).toThrow('payload: 1001 bytes are more than `maxQueuedBytes`, which is 1000');
  expect(await client.submitCommand(Buffer.alloc(1000, 1))).toHaveLength(1000);
});

test('a payload of the default maxMessageSize returns unchanged', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const payload = Buffer.alloc(ClientConfig.DEFAULT_MAX_MESSAGE_SIZE, 'zraft');
  expect((await client.submitQuery(payload)).equals(payload)).toBe(true);
});

test('nothing is opened by the constructor', async () => {
  const cluster = await startCluster();
  const client = newClient(cluster);
  expect(client.state).toBe('Disconnected');
  expect(await cluster.sessions()).toHaveLength(0);
});
