/** In the user guide and the repository's README every program compiles, programs marked `run` print what the page says, and the tables are complete. */

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as zraft from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

import { native } from './support/internals';
import { headingsOf, linksOf, type Program, programsOf, rowsOf } from './support/markdown';

const run = promisify(execFile);
const home = fileURLToPath(new URL('..', import.meta.url));
const guide = new URL('../../../docs/guide/', import.meta.url);
const page = (name: string): URL => new URL(name, guide);
const pages = [
  new URL('../../../README.md', import.meta.url),
  ...readdirSync(guide)
    .filter((name) => name.endsWith('.md'))
    .map(page),
];
const programs = pages.flatMap(programsOf);
const names = JSON.parse(native.names()) as {
  errorCodes: string[];
  connectionCauses: string[];
  disconnectReasons: string[];
  defaults: Record<string, unknown>;
};

const fileName = (place: string): string => place.replaceAll(/[^\w.]/g, '-');

/** A user's project. The package is installed under its own name and under the name that the page on migrating uses. */
let project: string;

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'zraft-guide-'));
  for (const name of ['zraft-client', '@zio-raft/typescript-client']) {
    const link = join(project, 'node_modules', name);
    mkdirSync(join(link, '..'), { recursive: true });
    symlinkSync(home, link, 'junction');
  }
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

test('every link of the guide and the README has a target', () => {
  for (const from of pages) {
    for (const { target, heading } of linksOf(from)) {
      const link = `${from.pathname} -> ${target.pathname}`;
      expect(existsSync(target), link).toBe(true);
      if (heading !== undefined) expect(headingsOf(target), link).toContain(heading);
    }
  }
});

test('the guide has programs that are only compiled and programs that are run', () => {
  expect(programs.filter(({ prints }) => prints === undefined).length).toBeGreaterThan(3);
  expect(programs.filter(({ prints }) => prints !== undefined).length).toBeGreaterThan(8);
});

test('every TypeScript program of the guide and the README compiles', async () => {
  const files = programs.map(({ place, code }) => {
    const name = `${fileName(place)}.mts`;
    writeFileSync(join(project, name), code);
    return name;
  });
  const flags = ['--noEmit', '--strict', '--module', 'node16', '--target', 'es2022', '--types', 'node'];
  flags.push('--typeRoots', join(home, 'node_modules/@types'));
  const compiler = join(home, 'node_modules/typescript/bin/tsc');
  const compiled = await run(process.execPath, [compiler, ...flags, ...files], { cwd: project }).catch(
    (error: unknown) => error as { stdout: string },
  );
  expect(compiled.stdout).toBe('');
}, 180_000);

const runnable = programs.filter((program): program is Program & { prints: string } => program.prints !== undefined);

test.each(runnable)('$place prints what it says', async ({ code, prints, place }) => {
  // This stands in for `zraft dev --members 3`, which listens on ports 7001 to 7003.
  const cluster = await TestCluster.start({ members: 3 });
  try {
    await cluster.leaderElected();
    let connected = code;
    for (const [index, endpoint] of [...cluster.clusterMembers.values()].entries()) {
      connected = connected.replaceAll(`'tcp://127.0.0.1:${7001 + index}'`, `'${endpoint}'`);
    }
    const { outputText } = ts.transpileModule(connected, {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true },
    });
    const file = join(project, `${fileName(place)}.mjs`);
    writeFileSync(file, outputText);
    // A program that does not end by itself fails the test as well.
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: project, timeout: 20_000 });
    expect(stdout).toBe(prints);
    expect(stderr).toBe('');
  } finally {
    await cluster.stop();
  }
});

test('the table of errors has every code, with its class in Node', () => {
  const rows = rowsOf(page('errors.md'), 'code');
  expect(rows.map(([code]) => code).sort()).toEqual([...names.errorCodes].sort());
  for (const [code, rust, node] of rows) {
    const found = (zraft as Record<string, unknown>)[node as string] as { prototype: unknown };
    expect(found?.prototype, code).toBeInstanceOf(zraft.RaftClientError);
    expect(node, code).toBe(`${rust}Error`);
  }
});

test('the table of causes has every cause of a connection error', () => {
  const causes = new Map(rowsOf(page('errors.md'), 'cause').map(([cause, rust]) => [cause, rust]));
  for (const name of names.connectionCauses) expect(causes.get(name)?.toLowerCase(), name).toBe(name.toLowerCase());
});

test('the table of settings has every setting and its default', () => {
  const { reconnectBackoff, ...numbers } = names.defaults;
  // The defaults of connect() and disconnect(), which are not settings.
  delete numbers['connectTimeout'];
  delete numbers['disconnectTimeout'];
  const rows = new Map(rowsOf(page('tuning.md'), 'setting').map(([name, value]) => [name, value]));
  for (const [name, value] of Object.entries(numbers)) expect(rows.get(name), name).toBe(String(value));
  const others = ['clusterMembers', 'capabilities', 'ackServerRequests', 'onSessionExpired', 'reconnectBackoff'];
  expect([...rows.keys()].sort()).toEqual([...Object.keys(numbers), ...others].sort());
  const parts = rowsOf(page('tuning.md'), 'part').map(([name, value]) => [name, Number(value)]);
  expect(Object.fromEntries(parts)).toEqual(reconnectBackoff);
});

test('the tables of events, reasons and counters are complete', () => {
  const named = (title: string): (string | undefined)[] =>
    rowsOf(page('operating.md'), title)
      .map(([name]) => name)
      .sort();
  expect(named('event').filter((name) => !name?.includes(' '))).toEqual(Object.values(zraft.ClientEvents).sort());
  expect(named('reason of disconnected')).toEqual([...names.disconnectReasons].sort());
  const client = new zraft.RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities: { role: 'test' } });
  expect(named('counter')).toEqual(Object.keys(client.stats()).sort());
});

test('every switch of the embedded cluster that the guide names exists', () => {
  const switches = rowsOf(page('testing.md'), 'to test').flatMap(([, , node]) =>
    (node ?? '').split(', ').map((call) => call.replace(/\(.*/, '')),
  );
  expect(switches.length).toBeGreaterThan(15);
  for (const name of switches.filter((each) => /^[a-z]+$/i.test(each))) expect(name in TestCluster.prototype, name).toBe(true);
});
