// Makes the packages to publish: the main package, and one with the native half for each platform.
//
//     node scripts/release.mjs ARTIFACTS OUT [--built]
//
// ARTIFACTS has a `zraft-client.PLATFORM.node` for every target of package.json; with --built, for some of them. The script
// creates OUT. The committed package.json names no platform packages, since `npm ci` would not find them before they are
// published; `napi pre-publish` adds them here as optionalDependencies of exactly this version. Afterwards OUT/*.tgz are ready
// for `npm publish`, the main package last.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { parseTriple } from '@napi-rs/cli';

const home = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const repository = resolve(home, '../..');
const [artifacts, out] = process.argv.slice(2, 4).map((path) => resolve(path));
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];

function fail(message) {
  console.error(`release.mjs: ${message}`);
  process.exit(1);
}

function edit(folder, change) {
  const path = join(folder, 'package.json');
  const description = JSON.parse(readFileSync(path, 'utf8'));
  change(description);
  writeFileSync(path, `${JSON.stringify(description, null, 2)}\n`);
}

if (out === undefined) fail('usage: node scripts/release.mjs ARTIFACTS OUT [--built]');
if (!existsSync(join(home, 'dist/module/index.mjs'))) fail('dist is missing: run "npm run build:ts" first');

const { napi } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
const binary = (target) => `${napi.binaryName}.${parseTriple(target).platformArchABI}.node`;
const there = napi.targets.filter((target) => existsSync(join(artifacts, binary(target))));
const missing = napi.targets.filter((target) => !there.includes(target)).map(binary);
if (there.length === 0) fail(`no native half in ${artifacts}: run "npm run build" first`);
if (missing.length > 0 && process.argv[4] !== '--built') fail(`missing in ${artifacts}: ${missing.join(', ')}`);

const main = join(out, 'zraft-client');
// Removes the files of an earlier run, so that they are not packed.
rmSync(main, { recursive: true, force: true });
mkdirSync(main, { recursive: true });
for (const name of readdirSync(out)) if (/^zraft-client-.*\.tgz$/.test(name)) rmSync(join(out, name));
for (const name of ['package.json', 'README.md', 'dist', 'src']) cpSync(join(home, name), join(main, name), { recursive: true });
edit(main, (description) => (description.napi.targets = there));

// Their output is shown only with an error.
const cli = join(home, 'node_modules/@napi-rs/cli/dist/cli.js');
const run = (...args) => execFileSync(process.execPath, [cli, ...args], { cwd: main, stdio: 'pipe' });
run('create-npm-dirs');
run('artifacts', '--output-dir', artifacts);
run('pre-publish', '--skip-optional-publish', '--no-gh-release');

// An installed package cannot be built, so these fields are useless there.
edit(main, (description) => {
  for (const name of ['scripts', 'devDependencies', 'overrides', 'napi']) delete description[name];
});
const platforms = readdirSync(join(main, 'npm')).map((platform) => join(main, 'npm', platform));
for (const folder of [main, ...platforms]) for (const name of LICENCES) cpSync(join(repository, name), join(folder, name));
for (const folder of platforms) edit(folder, (description) => description.files.push(...LICENCES));
// On Windows only the shell finds npm.
const options = { cwd: out, shell: process.platform === 'win32', stdio: 'pipe' };
for (const folder of [...platforms, main]) execFileSync('npm', ['pack', '--pack-destination', out, folder], options);
