/** The package as users get it: released, installed into an empty folder by npm, and run. */

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { programsOf } from './support/markdown';
import { type Registry, startRegistry } from './support/registry';

const run = promisify(execFile);
const home = fileURLToPath(new URL('..', import.meta.url));
const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
];

let folder: string;
let app: string;
let registry: Registry;
/** The platform of this machine, which is the one that was built. */
let own: string;
let version: string;

const inPackage = (...path: string[]): string => join(app, 'node_modules/zraft-client', ...path);
const describe = (tarball: string): { name: string; version: string } =>
  JSON.parse(execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' })) as never;
const program = (name: string, code: string): string => {
  writeFileSync(join(app, name), code);
  return execFileSync(process.execPath, [name], { cwd: app, encoding: 'utf8' });
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'zraft-client-'));
  const artifacts = join(folder, 'artifacts');
  mkdirSync(artifacts);
  const built = readdirSync(join(home, 'native')).find((name) => name.endsWith('.node'));
  ({ version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string });
  own = /^zraft-client\.(.+)\.node$/.exec(built ?? '')?.[1] ?? '';
  // The binaries of other platforms are built on those platforms. Here npm must not install their packages.
  for (const platform of PLATFORMS) writeFileSync(join(artifacts, `zraft-client.${platform}.node`), 'made elsewhere');
  writeFileSync(join(artifacts, built as string), readFileSync(join(home, 'native', built as string)));
  await run(process.execPath, [join(home, 'scripts/release.mjs'), artifacts, join(folder, 'release')]);

  registry = await startRegistry(join(folder, 'release'), describe);
  app = join(folder, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "private": true }');
  const flags = ['--registry', registry.url, '--cache', join(folder, 'cache'), '--no-audit', '--no-fund', '--no-update-notifier'];
  await run('npm', ['install', 'zraft-client', ...flags], { cwd: app, shell: process.platform === 'win32' });
}, 180_000);

afterAll(() => {
  registry.close();
  rmSync(folder, { recursive: true, force: true });
});

test('npm installs the package and the native half of this platform, and nothing else', () => {
  expect(readdirSync(join(app, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['zraft-client', `zraft-client-${own}`]);
  expect(registry.fetched.sort()).toEqual([`zraft-client-${version}.tgz`, `zraft-client-${own}-${version}.tgz`]);
});

test('the package names the native half of every platform, in exactly its own version', () => {
  const { optionalDependencies, dependencies } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as Record<string, unknown>;
  expect(optionalDependencies).toEqual(Object.fromEntries(PLATFORMS.map((platform) => [`zraft-client-${platform}`, version])));
  expect(dependencies).toBeUndefined();
});

test('each platform package is for that platform alone', () => {
  for (const platform of PLATFORMS) {
    const description = describe(join(folder, 'release', `zraft-client-${platform}-${version}.tgz`)) as Record<string, unknown>;
    const [os, cpu, abi] = platform.split('-');
    expect(description).toMatchObject({ os: [os], cpu: [cpu], main: `zraft-client.${platform}.node`, engines: { node: '>=20' } });
    expect(description['libc']).toEqual(os === 'linux' ? [abi === 'gnu' ? 'glibc' : 'musl'] : undefined);
  }
});

const WORK = `
  (async () => {
    const cluster = await TestCluster.start();
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'installed' } });
    await client.connect();
    await client.submitCommand(set('key', 'value'));
    console.log(readValue(await client.submitQuery(get('key'))));
    await client.disconnect();
    await cluster.stop();
  })();
`;

test('the installed package runs from CommonJS', () => {
  const code = `
    const { RaftClient } = require('zraft-client');
    const { TestCluster } = require('zraft-client/testing');
    const { get, readValue, set } = require('zraft-client/kv');
    ${WORK}`;
  expect(program('work.cjs', code)).toBe('value\n');
});

test('the installed package runs from ESM', () => {
  const code = `
    import { RaftClient } from 'zraft-client';
    import { TestCluster } from 'zraft-client/testing';
    import { get, readValue, set } from 'zraft-client/kv';
    ${WORK}`;
  expect(program('work.mjs', code)).toBe('value\n');
});

test('zraft-client/opentelemetry needs its peer, which is not installed with the package', () => {
  const alone = "try { require('zraft-client/opentelemetry') } catch (error) { console.log(error.message.split('\\n')[0]) }";
  expect(program('alone.cjs', alone)).toBe("Cannot find module '@opentelemetry/api'\n");
  mkdirSync(join(app, 'node_modules/@opentelemetry'));
  symlinkSync(join(home, 'node_modules/@opentelemetry/api'), join(app, 'node_modules/@opentelemetry/api'), 'junction');
  expect(program('peer.cjs', "console.log(typeof require('zraft-client/opentelemetry').instrument())")).toBe('function\n');
});

test('CommonJS and ESM export the same objects under the same names', () => {
  const code = `
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    for (const name of ['zraft-client', 'zraft-client/kv', 'zraft-client/opentelemetry', 'zraft-client/testing']) {
      const esm = await import(name);
      const cjs = require(name);
      for (const key of new Set([...Object.keys(esm), ...Object.keys(cjs)])) {
        if (esm[key] !== cjs[key]) console.log(name, key);
      }
      if (Object.keys(cjs).length === 0) console.log(name, 'is empty');
    }`;
  expect(program('same.mjs', code)).toBe('');
});

test('CommonJS and ESM find the types, and all code of the README compiles', async () => {
  const code = `
    import { RaftClient, type SessionId, TimeoutError } from 'zraft-client';
    import { readValue } from 'zraft-client/kv';
    import { instrument } from 'zraft-client/opentelemetry';
    import { TestCluster } from 'zraft-client/testing';
    export const stop: () => void = instrument();
    export const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:7001' }, capabilities: { role: 'x' } });
    export const session: SessionId | undefined = client.sessionId;
    export const answer: Promise<Buffer> = client.submitCommand(new Uint8Array(1));
    export const value: string | undefined = readValue(new Uint8Array(1));
    export const cluster: Promise<TestCluster> = TestCluster.start();
    // @ts-expect-error: the error has a code
    export const code: number = (undefined as unknown as TimeoutError).code;
  `;
  const names = ['work.cts', 'work.mts'];
  for (const name of names) writeFileSync(join(app, name), code);
  const programs = programsOf(new URL('../README.md', import.meta.url));
  expect(programs.length).toBeGreaterThan(3);
  for (const [index, { code }] of programs.entries()) {
    names.push(`readme-${index}.mts`);
    writeFileSync(join(app, `readme-${index}.mts`), code);
  }
  const flags = ['--noEmit', '--strict', '--module', 'node16', '--target', 'es2022', '--types', 'node'];
  // This also checks the declarations of the package.
  flags.push('--typeRoots', join(home, 'node_modules/@types'), '--skipLibCheck', 'false');
  const compiler = join(home, 'node_modules/typescript/bin/tsc');
  const compiled = await run(process.execPath, [compiler, ...flags, ...names], { cwd: app }).catch(
    (error: unknown) => error as { stdout: string },
  );
  expect(compiled.stdout).toBe('');
}, 180_000);

test('the package has licences, sources and source maps, and each map finds its source', () => {
  for (const place of [inPackage(), join(app, `node_modules/zraft-client-${own}`)]) {
    expect(readdirSync(place)).toEqual(expect.arrayContaining(['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json']));
  }
  const files = readdirSync(inPackage('dist'));
  expect(files.filter((name) => name.endsWith('.js')).every((name) => files.includes(`${name}.map`))).toBe(true);
  const maps = files.filter((name) => name.endsWith('.map'));
  expect(maps.length).toBeGreaterThan(20);
  for (const name of maps) {
    const { sources } = JSON.parse(readFileSync(inPackage('dist', name), 'utf8')) as { sources: string[] };
    for (const source of sources) expect(existsSync(resolve(dirname(inPackage('dist', name)), source)), `${name}: ${source}`).toBe(true);
  }
});

/** Bundles WORK, runs the bundle in its own folder and returns its output. */
function bundled(format: 'esm' | 'cjs', place: string, ...flags: string[]): string {
  const source = join(app, `bundle-${format}.mjs`);
  const code = `
    import { RaftClient } from 'zraft-client';
    import { TestCluster } from 'zraft-client/testing';
    import { get, readValue, set } from 'zraft-client/kv';
    ${WORK}`;
  writeFileSync(source, code);
  const bundle = join(place, `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`);
  const esbuild = join(home, 'node_modules/esbuild/bin/esbuild');
  const made = spawnSync(
    process.execPath,
    [esbuild, source, '--bundle', '--platform=node', `--format=${format}`, `--outfile=${bundle}`, ...flags],
    { encoding: 'utf8' },
  );
  expect({ status: made.status, warnings: /warning/i.test(made.stderr) }, made.stderr).toEqual({ status: 0, warnings: false });
  return execFileSync(process.execPath, [bundle], { cwd: place, encoding: 'utf8' });
}

test.each(['esm', 'cjs'] as const)('a bundle by esbuild works if the native half is installed: %s', (format) => {
  expect(bundled(format, app)).toBe('value\n');
});

test.each(['esm', 'cjs'] as const)('a bundle by esbuild works if the native half is beside it: %s', (format) => {
  const place = mkdtempSync(join(folder, 'bundle-'));
  copyFileSync(join(app, `node_modules/zraft-client-${own}/zraft-client.${own}.node`), join(place, `zraft-client.${own}.node`));
  expect(bundled(format, place)).toBe('value\n');
});

test.each(['esm', 'cjs'] as const)('a bundle by esbuild that excludes the package works if the package is installed: %s', (format) => {
  expect(bundled(format, app, '--external:zraft-client', '--external:zraft-client/*')).toBe('value\n');
});

test('a release for this platform alone installs from its two tarballs without a registry, and runs', async () => {
  const release = join(folder, 'built');
  await run(process.execPath, [join(home, 'scripts/release.mjs'), join(home, 'native'), release, '--built']);
  const tarballs = readdirSync(release).filter((name) => name.endsWith('.tgz'));
  expect(tarballs.sort()).toEqual([`zraft-client-${version}.tgz`, `zraft-client-${own}-${version}.tgz`]);
  const place = mkdtempSync(join(folder, 'local-'));
  writeFileSync(join(place, 'package.json'), '{ "private": true }');
  const flags = ['--offline', '--cache', join(folder, 'no-cache'), '--no-audit', '--no-fund', '--no-update-notifier'];
  const files = tarballs.map((name) => join(release, name));
  await run('npm', ['install', ...files, ...flags], { cwd: place, shell: process.platform === 'win32' });
  const code = `
    const { RaftClient } = require('zraft-client');
    const { TestCluster } = require('zraft-client/testing');
    const { get, readValue, set } = require('zraft-client/kv');
    ${WORK}`;
  writeFileSync(join(place, 'work.cjs'), code);
  expect(execFileSync(process.execPath, ['work.cjs'], { cwd: place, encoding: 'utf8' })).toBe('value\n');
}, 180_000);

test('a release for all platforms names the native halves that are missing', () => {
  const release = spawnSync(process.execPath, [join(home, 'scripts/release.mjs'), join(home, 'native'), join(folder, 'none')], {
    encoding: 'utf8',
  });
  expect(release.status).toBe(1);
  for (const platform of PLATFORMS) expect(release.stderr.includes(`zraft-client.${platform}.node`)).toBe(platform !== own);
  expect(existsSync(join(folder, 'none'))).toBe(false);
});

test('npm pack in the sources is refused, and says what to do instead', () => {
  const packed = spawnSync('npm', ['pack', '--pack-destination', folder], {
    cwd: home,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  expect(packed.status).not.toBe(0);
  expect(packed.stderr).toContain('npm run pack');
});

test('without the native half the error says what to do', () => {
  rmSync(join(app, `node_modules/zraft-client-${own}`), { recursive: true });
  const code = `try { require('zraft-client'); } catch (error) { console.log(error.message); }`;
  expect(program('missing.cjs', code)).toMatch(new RegExp(`no native half for ${own}.*zraft-client-${own}.*--no-optional.*npm run build`));
});
