/** Names and numbers are the same on both sides of the boundary. */

import { readFileSync } from 'node:fs';

import * as zraft from 'zraft-client';
import { expect, expectTypeOf, test } from 'vitest';

import * as layout from '../src/layout';
import { native, type Setting } from './support/internals';

const names = JSON.parse(native.names()) as {
  states: string[];
  disconnectReasons: string[];
  events: string[];
  errorCodes: string[];
  connectionCauses: string[];
  stats: string[];
  latency: string[];
  protocolSignature: number[];
  protocolVersion: number;
  layout: [item: string, value: number | [name: string, number: number][]][];
  settings: Setting[];
  defaults: Record<string, number | Record<string, number>>;
  texts: Record<string, string>;
  [codes: string]: unknown;
};

/** All names as keys. The compiler reports a name that is missing here; the test compares the names with the native half's. */
const states: Record<zraft.ClientStateName, 1> = { Disconnected: 1, ConnectingNewSession: 1, ConnectingExistingSession: 1, Connected: 1 };
const disconnectReasons: Record<zraft.DisconnectReason, 1> = {
  connectionLost: 1,
  heartbeatTimeout: 1,
  keepAliveTimeout: 1,
  silent: 1,
  notLeader: 1,
  serverShutdown: 1,
  sessionError: 1,
  sessionExpired: 1,
  rejected: 1,
  closed: 1,
};
const errorCodes: Record<zraft.ErrorCode, 1> = {
  TIMEOUT: 1,
  CANCELLED: 1,
  OVERLOADED: 1,
  NOT_CONNECTED: 1,
  CLOSED: 1,
  SESSION_EXPIRED: 1,
  SESSION_REJECTED: 1,
  CONNECTION: 1,
  RESPONSE_EVICTED: 1,
  QUARANTINED: 1,
  PROTOCOL: 1,
  VALIDATION: 1,
};
const connectionCauses: Record<zraft.ConnectionCauseCode, 1> = {
  refused: 1,
  unknownHost: 1,
  unreachable: 1,
  tls: 1,
  timedOut: 1,
  closedBeforeFirstMessage: 1,
  neverAnswered: 1,
  lost: 1,
  zmtp: 1,
  noLeader: 1,
  leaderNotConfigured: 1,
  sessionUnknown: 1,
  sessionClosed: 1,
};
const stats: Record<keyof zraft.Stats, 1> = {
  sent: 1,
  resent: 1,
  answered: 1,
  unknown: 1,
  unmatched: 1,
  notExecuted: 1,
  inFlight: 1,
  detached: 1,
  queued: 1,
  queuedBytes: 1,
  reconnects: 1,
  orphans: 1,
  smoothedAnswer: 1,
  serverRequests: 1,
  duplicates: 1,
  protocolErrors: 1,
  bytesIn: 1,
  bytesOut: 1,
  latency: 1,
};
const latency: Record<keyof zraft.Latency, 1> = {
  count: 1,
  min: 1,
  mean: 1,
  max: 1,
  p50: 1,
  p90: 1,
  p99: 1,
  p999: 1,
};
const sorted = (list: Iterable<string>): string[] => [...list].sort();

test.each([
  ['states', states],
  ['disconnectReasons', disconnectReasons],
  ['errorCodes', errorCodes],
  ['connectionCauses', connectionCauses],
  ['stats', stats],
  ['latency', latency],
] as const)('the names of the %s are the same on both sides', (what, here) => {
  expect(sorted(Object.keys(here))).toEqual(sorted(names[what]));
});

test('the names of the events are the same on both sides, except handlerError, which only this side has', () => {
  expect(sorted(Object.values(zraft.ClientEvents))).toEqual(sorted([...names.events, 'handlerError']));
  expectTypeOf<(typeof zraft.ClientEvents)[keyof typeof zraft.ClientEvents]>().toEqualTypeOf<keyof zraft.ClientEventMap>();
});

test('stats has exactly the counters of the native half, also before the first answer', () => {
  const client = new zraft.RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities: { role: 'test' } });
  expect(Object.keys(client.stats())).toEqual(names.stats);
  expect(client.stats()).toMatchObject({ sent: 0, smoothedAnswer: undefined });
  const { commands, queries } = client.stats().latency;
  expect(commands).toEqual({ ...Object.fromEntries(names.latency.map((name) => [name, undefined])), count: 0 });
  expect(queries).toEqual(commands);
});

test.each([
  'ClientMessageType',
  'ServerMessageType',
  'RejectionReasonCode',
  'SessionCloseReasonCode',
  'CloseReasonCode',
  'RequestErrorReasonCode',
] as const)('the numbers of %s are the same on both sides', (name) => {
  const here = Object.fromEntries(Object.entries(zraft[name]).filter(([, value]) => typeof value === 'number'));
  expect(here).toEqual(names[name]);
});

test('the layout of batches and records is the same on both sides, in the same order', () => {
  const source = readFileSync(new URL('../src/layout.ts', import.meta.url), 'utf8');
  const order = [...source.matchAll(/^export const (?:enum )?(\w+)/gm)].map(([, name]) => name as keyof typeof layout);
  const items = layout as unknown as Record<string, number | Record<string, number | string>>;
  // An enum also has its numbers as keys.
  const members = (item: Record<string, number | string>) => Object.entries(item).filter(([, value]) => typeof value === 'number');
  const here = order.map((name) => {
    const item = items[name] as number | Record<string, number | string>;
    return [name, typeof item === 'number' ? item : members(item)];
  });
  expect(here).toEqual(names.layout);
});

test('signature and version of the protocol are the same on both sides', () => {
  expect([...zraft.PROTOCOL_SIGNATURE]).toEqual(names.protocolSignature);
  expect(zraft.PROTOCOL_VERSION).toBe(names.protocolVersion);
});

test('the defaults are the same on both sides', () => {
  const here = Object.entries(zraft.ClientConfig).filter(([name]) => name.startsWith('DEFAULT_'));
  const camel = (name: string): string => name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  const there = Object.entries(names.defaults).filter(
    ([name]) => !['connectTimeout', 'disconnectTimeout', 'reconnectBackoff'].includes(name),
  );
  expect(Object.fromEntries(here.map(([name, value]) => [camel(name.slice('DEFAULT_'.length)), value]))).toEqual(Object.fromEntries(there));
});

/** A doc comment in one line. */
const oneLine = (comment: string): string => comment.replaceAll(/\s*\n\s*\* ?/g, ' ').trim();

test("the types and docs of the settings are those of the native half's table", () => {
  const source = readFileSync(new URL('../src/config.ts', import.meta.url), 'utf8');
  const properties = [...source.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\n  readonly (\w+)\??: ([^;]+);/g)];
  // The table belongs to the core, which knows no TLS, and has no setting with bytes.
  const here = properties
    .map(([, comment, name, type]) => ({ name, type, doc: oneLine(comment as string) }))
    .filter(({ name }) => !['tls', 'livenessQuery', 'discoverMembers', 'resolveMember', 'membersFromDns'].includes(name as string));
  const there = names.settings.map((setting) => {
    const { kind, doc } = setting;
    const name = setting.name.replace(/^.*\./, '');
    const limits = `from ${setting.range}.`;
    switch (kind) {
      case 'time':
        return {
          name,
          type: 'number | undefined',
          doc: `${doc} Default ${setting.value}, ${limits}${setting.unlimited ? ' `Infinity` waits for ever.' : ''}`,
        };
      case 'number':
        return { name, type: 'number | undefined', doc: `${doc} Default ${setting.default}, ${limits}` };
      case 'choice':
        return {
          name,
          type: `${setting.choices.map((choice) => `'${choice}'`).join(' | ')} | undefined`,
          doc: `${doc} Default '${setting.default}'.`,
        };
      case 'parts':
        return { name, type: 'ReconnectBackoff | undefined', doc };
      case 'entries':
        return { name, type: expect.stringContaining('Readonly<Record<string, string>>'), doc: `${doc} Required.` };
    }
  });
  const byName = (one: { name?: string | undefined }, other: { name?: string | undefined }): number =>
    (one.name as string).localeCompare(other.name as string);
  expect(here.sort(byName)).toEqual(there.sort(byName));
});

test('the documented timeouts of connect() and disconnect() are their defaults', () => {
  const { connectTimeout, disconnectTimeout } = names.defaults;
  const options = readFileSync(new URL('../src/options.ts', import.meta.url), 'utf8');
  expect([...options.matchAll(/Default ([0-9]+)\./g)].map(([, number]) => Number(number))).toEqual([connectTimeout, disconnectTimeout]);
});

test("an overload that this side finds has the native half's text", async () => {
  const client = new zraft.RaftClient({
    clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' },
    capabilities: { role: 'test' },
    maxQueuedBytes: 3,
  });
  const first = client.submitCommand(Buffer.alloc(2));
  await expect(client.submitCommand(Buffer.alloc(2))).rejects.toThrow(names.texts['overloaded'] as string);
  await expect(first).rejects.toThrow(zraft.NotConnectedError);
});

test('ids refuse values that cannot be ids', () => {
  expect(() => zraft.SessionId.fromString('')).toThrow(TypeError);
  expect(() => zraft.CorrelationId.fromString('')).toThrow(TypeError);
  expect(() => zraft.RequestId.fromBigInt(-1n)).toThrow(RangeError);
  expect(() => zraft.RequestId.next(zraft.RequestId.fromBigInt(2n ** 63n - 1n))).toThrow(RangeError);
  expect(() => zraft.Nonce.fromBigInt(0n)).toThrow(RangeError);
  expect(zraft.RequestId.next(zraft.RequestId.zero)).toBe(1n);
  expect(zraft.Nonce.unwrap(zraft.Nonce.generate())).not.toBe(0n);
  expect(zraft.CorrelationId.unwrap(zraft.CorrelationId.generate())).toMatch(/^[0-9a-f-]{36}$/);
  expect(zraft.MemberId.unwrap(zraft.MemberId.fromString('node-1'))).toBe('node-1');
  expect(zraft.SessionId.unwrap(zraft.SessionId.fromString('session'))).toBe('session');
});
