/** The README's tables are complete and correct. */

import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';
import * as zraft from 'zraft-client';

import { native } from './support/internals';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const names = JSON.parse(native.names()) as { errorCodes: string[]; disconnectReasons: string[]; defaults: Record<string, unknown> };

function section(title: string): string {
  return readme.split(/^## /m).find((text) => text.startsWith(`${title}\n`)) ?? '';
}

/** Returns the cells of a section's table, without its head. */
function table(title: string): string[][] {
  const rows = section(title)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}

test('the table of settings has every setting and its default', () => {
  const { connectTimeout, disconnectTimeout, reconnectBackoff, ...numbers } = names.defaults;
  const rows = new Map(table('Configuration').map(([name, value]) => [name, value]));
  for (const [name, value] of Object.entries(numbers)) expect(rows.get(name), name).toBe(String(value));
  const others = [
    'clusterMembers',
    'capabilities',
    'ackServerRequests',
    'onSessionExpired',
    'reconnectBackoff',
    'livenessQuery',
    'discoverMembers',
    'resolveMember',
    'membersFromDns',
    'tls',
  ];
  expect([...rows.keys()].sort()).toEqual([...Object.keys(numbers), ...others].sort());
  for (const value of Object.values(reconnectBackoff as object)) expect(section('Configuration')).toContain(String(value));
  expect(readme).toContain((connectTimeout as number).toLocaleString('en'));
  expect(readme).toContain((disconnectTimeout as number).toLocaleString('en'));
});

test('the table of errors has every class and its code', () => {
  const rows = table('Errors');
  expect(rows.map(([, code]) => code).sort()).toEqual([...names.errorCodes].sort());
  for (const [name] of rows) {
    const found = (zraft as Record<string, unknown>)[name as string] as { prototype: unknown };
    expect(found?.prototype, name).toBeInstanceOf(zraft.RaftClientError);
  }
});

test('the table of events has every event', () => {
  expect(
    table('Events')
      .map(([name]) => name)
      .sort(),
  ).toEqual(Object.values(zraft.ClientEvents).sort());
  for (const reason of names.disconnectReasons) expect(section('Events')).toContain(`\`${reason}\``);
});

test('the table of the client has every member of the class', () => {
  const client = new zraft.RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities: { role: 'test' } });
  const members = table('The client').flatMap(([cell]) => (cell ?? '').split(', ').map((member) => member.replace(/\(.*/, '')));
  for (const name of members.filter((member) => /^[a-z]+$/i.test(member))) expect(name in client, name).toBe(true);
  const own = Object.getOwnPropertyNames(zraft.RaftClient.prototype).filter((name) => /^[a-z]/.test(name));
  const emitters = ['constructor', 'toJSON', 'on', 'addListener', 'prependListener', 'off', 'removeListener', 'removeAllListeners'];
  for (const name of own.filter((each) => !emitters.includes(each))) expect(section('The client'), name).toContain(`\`${name}`);
});
