// Puts together what is published: the main package, and one package for each platform with the native half in it.
//
//     node scripts/release.mjs ARTIFACTS OUT
//
// ARTIFACTS holds a `zraft-client.PLATFORM.node` for every target of package.json; OUT is made. The committed package.json
// names no platform packages, since `npm ci` could not find them before they are published: `napi pre-publish` adds them here
// as optionalDependencies of exactly this version. Afterwards OUT/*.tgz are ready for `npm publish`, the main package last.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const home = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const repository = resolve(home, '../..');
const [artifacts, out] = process.argv.slice(2).map((path) => resolve(path));
if (out === undefined) throw new Error('usage: release.mjs ARTIFACTS OUT');

const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];
const main = join(out, 'zraft-client');
// What they print shows only with an error.
const run = (program, ...args) => execFileSync(program, args, { cwd: main, stdio: 'pipe' });
const napi = (...args) => run(process.execPath, join(home, 'node_modules/@napi-rs/cli/dist/cli.js'), ...args);

mkdirSync(main, { recursive: true });
for (const name of ['package.json', 'README.md', 'dist', 'src']) cpSync(join(home, name), join(main, name), { recursive: true });
napi('create-npm-dirs');
napi('artifacts', '--output-dir', artifacts);
napi('pre-publish', '--skip-optional-publish', '--no-gh-release');

const platforms = readdirSync(join(main, 'npm')).map((platform) => join(main, 'npm', platform));
for (const folder of [main, ...platforms]) {
  for (const name of LICENCES) cpSync(join(repository, name), join(folder, name));
  if (folder === main) continue;
  const path = join(folder, 'package.json');
  const description = JSON.parse(readFileSync(path, 'utf8'));
  description.files.push(...LICENCES);
  writeFileSync(path, `${JSON.stringify(description, null, 2)}\n`);
}
// Windows finds npm by its shell only.
const options = { cwd: out, shell: process.platform === 'win32', stdio: 'pipe' };
for (const folder of [...platforms, main]) execFileSync('npm', ['pack', '--pack-destination', out, folder], options);
