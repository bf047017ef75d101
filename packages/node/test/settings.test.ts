/** Every setting by its name, in its unit and within its limits. The error of a refused value has the setting's name in JavaScript. */

import { expect, test } from 'vitest';
import { ClientConfig, RaftClient, ValidationError } from 'zraft-client';

import { native, type Setting } from './support/internals';

const good: ClientConfig = { clusterMembers: { 'node-1': 'tcp://127.0.0.1:7001' }, capabilities: { role: 'test' } };
const { settings, defaults } = JSON.parse(native.names()) as {
  settings: Setting[];
  defaults: Record<string, number | Record<string, number>>;
};

const HOUR = 3_600_000;
const DAYS_30 = 30 * 24 * HOUR;

/** The settings that limit each other: the least and the most that the others below allow. */
const TOGETHER: Record<string, [least: number, most: number, others: Partial<ClientConfig>]> = {
  keepAliveInterval: [1, DAYS_30 / 3, { sessionTimeout: DAYS_30 }],
  sessionTimeout: [3, DAYS_30, { keepAliveInterval: 1 }],
  heartbeatInterval: [1, HOUR, { heartbeatTimeout: HOUR }],
  heartbeatTimeout: [5, HOUR, { heartbeatInterval: 5 }],
};

/** Defaults that are options of calls and not settings. */
const OF_CALLS = ['connectTimeout', 'disconnectTimeout'];

const numbers = settings.filter((setting) => setting.kind === 'time' || setting.kind === 'number');

/** Returns the message with which settings are refused. */
function refusal(settings: object): string {
  try {
    ClientConfig.validate({ ...good, ...settings });
  } catch (error) {
    expect(error).toBeInstanceOf(ValidationError);
    return (error as Error).message;
  }
  throw new Error(`should have been refused: ${JSON.stringify(settings)}`);
}

test.each(numbers.filter(({ name }) => !name.includes('.')))('$name has limits, and the error beyond them names it', (setting) => {
  const { name } = setting;
  // No number of bytes that JavaScript can count exactly is too many for `maxQueuedBytes`.
  const isBounded = Number.isSafeInteger(setting.max);
  const [least, most, others] = TOGETHER[name] ?? [setting.min, isBounded ? setting.max : 2 ** 52, {}];
  const named = new RegExp(`^${name}: `);
  ClientConfig.validate({ ...good, ...others, [name]: least });
  ClientConfig.validate({ ...good, ...others, [name]: most });
  for (const value of [0, -1, ...(isBounded ? [most + 1] : [])]) expect(refusal({ ...others, [name]: value })).toMatch(named);
  for (const value of ['5', NaN, null, {}, 5n, -Infinity]) expect(refusal({ [name]: value })).toMatch(named);
  if (setting.kind === 'number' || !setting.unlimited) expect(refusal({ [name]: Infinity })).toMatch(named);
  if (setting.kind === 'number') expect(refusal({ [name]: 1.5 })).toMatch(named);
});

test('the documented limits are the limits', () => {
  expect(Object.fromEntries(numbers.map(({ name, min, max }) => [name, [min, max]]))).toMatchObject({
    connectionTimeout: [1, HOUR],
    requestTimeout: [1, DAYS_30],
    maxInFlight: [1, 2 ** 20],
    maxQueued: [1, 2 ** 24],
    maxMessageSize: [1, 2 ** 30],
    maxServerRequests: [1, 2 ** 20],
    'reconnectBackoff.max': [1, HOUR],
  });
});

test('all settings may be given together, each with its default', () => {
  const known = Object.fromEntries(Object.entries(defaults).filter(([name]) => !OF_CALLS.includes(name)));
  ClientConfig.validate({ ...good, ...known, ackServerRequests: 'delivered', onSessionExpired: 'terminate' });
  expect(new RaftClient({ ...good, ...known, ackServerRequests: 'handled', onSessionExpired: 'newSession' }).state).toBe('Disconnected');
});

test('keepAliveInterval is at most a third of sessionTimeout, and both are named', () => {
  ClientConfig.validate({ ...good, sessionTimeout: 3000, keepAliveInterval: 1000 });
  expect(refusal({ sessionTimeout: 2999, keepAliveInterval: 1000 })).toMatch(/^keepAliveInterval: .*sessionTimeout/);
});

test('heartbeatTimeout is not shorter than heartbeatInterval', () => {
  expect(refusal({ heartbeatInterval: 100, heartbeatTimeout: 99 })).toMatch(/^heartbeatTimeout: .*heartbeatInterval/);
});

test('each pause of the backoff has its limits, and the first is not longer than the longest', () => {
  for (const name of ['initial', 'max', 'electionInitial', 'electionMax']) {
    for (const value of [0, -1, HOUR + 1, Infinity, -Infinity, NaN, '1']) {
      expect(refusal({ reconnectBackoff: { [name]: value } })).toMatch(new RegExp(`^reconnectBackoff\\.${name}: `));
    }
  }
  expect(refusal({ reconnectBackoff: { initial: 6000 } })).toMatch(/^reconnectBackoff\.initial: .*reconnectBackoff\.max/);
  expect(refusal({ reconnectBackoff: { electionInitial: 251 } })).toMatch(
    /^reconnectBackoff\.electionInitial: .*reconnectBackoff\.electionMax/,
  );
  ClientConfig.validate({ ...good, reconnectBackoff: { initial: 6000, max: HOUR, electionInitial: undefined } });
});

test('an endpoint is tcp:// with host and port, IPv6 in brackets, or ipc:// with a path; the error for any other names its member', () => {
  const members = (endpoint: string): object => ({ clusterMembers: new Map([['node-7', endpoint]]) });
  for (const endpoint of ['tcp://localhost:7001', 'tcp://10.0.0.1:1', 'tcp://[::1]:65535']) {
    ClientConfig.validate({ ...good, ...members(endpoint) });
  }
  if (process.platform !== 'win32') ClientConfig.validate({ ...good, ...members('ipc:///run/node.sock') });
  for (const endpoint of [
    '',
    'localhost:7001',
    'tcp://::1:7001',
    'tcp://h',
    'tcp://h:0',
    'tcp://h:65536',
    'udp://h:1',
    'inproc://x',
    'ipc://',
  ]) {
    expect(refusal(members(endpoint))).toMatch(/^clusterMembers: .*node-7/);
  }
});

test('tls:// endpoints need TLS settings, which are checked and never shown', () => {
  const clusterMembers = { 'node-1': 'tls://db.example.com:7001' };
  expect(refusal({ clusterMembers })).toMatch(/^tls: .*node-1.*TLS settings/);
  expect(refusal({ tls: { ca: '' } })).toMatch(/^tls: no endpoint begins with tls:\/\//);
  for (const tls of [null, 'ca.pem', []]) expect(refusal({ clusterMembers, tls })).toMatch(/^tls: must be an object/);
  expect(refusal({ clusterMembers, tls: { certificate: '' } })).toMatch(/^tls\.certificate: there is no such setting/);
  expect(refusal({ clusterMembers, tls: { ca: 5 } })).toMatch(/^tls\.ca: must be a string or a Uint8Array/);
  expect(refusal({ clusterMembers, tls: { serverName: new Uint8Array(1) } })).toMatch(/^tls\.serverName: must be a string$/);
  expect(refusal({ clusterMembers, tls: {} })).toMatch(/^tls: give the CA/);
  expect(refusal({ clusterMembers, tls: { ca: new Uint8Array(9) } })).toMatch(/^tls: the CA holds no certificate/);
  const message = refusal({ clusterMembers, tls: { ca: 'hunter2', cert: 'hunter2', key: 'hunter2' } });
  expect(message).toMatch(/^tls: /);
  expect(message).not.toContain('hunter2');
});

test('capabilities have names of letters, digits, _ and -, and values; a value is never shown', () => {
  ClientConfig.validate({ ...good, capabilities: new Map([['Az_09-', 'anything: ✓']]) });
  for (const name of ['', 'a b', 'a.b', 'é', 'a:b']) {
    const message = refusal({ capabilities: { [name]: 'hunter2' } });
    expect(message).toMatch(/^capabilities: /);
    expect(message).not.toContain('hunter2');
  }
  expect(refusal({ capabilities: { token: '' } })).toMatch(/^capabilities: .*token/);
  expect(refusal({ capabilities: { token: 5 } })).toMatch(/^capabilities: .*token/);
});
