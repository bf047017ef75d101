// Runs smoke.mjs in Node, Bun and Deno, or in those that are named.
//
//     node test/runtimes/run.mjs [node|bun|deno]...
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const modules = join(here, 'node_modules');

/** The binary of Bun for this platform. The package's script, which would put it in place, is not run. */
function bun() {
  const scope = join(modules, '@oven');
  const platforms = existsSync(scope) ? readdirSync(scope) : [];
  for (const platform of platforms) {
    const file = join(scope, platform, 'bin', process.platform === 'win32' ? 'bun.exe' : 'bun');
    // A platform with two C libraries has two packages. The other's binary does not start.
    if (existsSync(file) && spawnSync(file, ['--version']).status === 0) return [file];
  }
  return undefined;
}

/** What the package needs in Deno: the native half is a file that is loaded, and its name depends on the platform. */
const PERMISSIONS = ['--allow-ffi', '--allow-read', '--allow-sys'];

function deno() {
  const file = join(modules, 'deno/bin.cjs');
  return existsSync(file) ? [process.execPath, file, 'run', '--no-prompt', ...PERMISSIONS, '--node-modules-dir=manual'] : undefined;
}

const RUNTIMES = { node: () => [process.execPath], bun, deno };

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(RUNTIMES);
// The package under its name, as npm would install it.
mkdirSync(modules, { recursive: true });
rmSync(join(modules, 'zraft-client'), { recursive: true, force: true });
symlinkSync(join(here, '../..'), join(modules, 'zraft-client'), 'junction');

for (const name of names) {
  const command = RUNTIMES[name]?.();
  if (command === undefined) throw new Error(`${name} is not installed: run "npm run test:runtimes" in packages/node`);
  const [file, ...words] = command;
  const { status, signal, stdout, stderr } = spawnSync(file, [...words, 'smoke.mjs'], { cwd: here, encoding: 'utf8', timeout: 120_000 });
  const parts = stdout.split('\n').filter((line) => line.startsWith('ok: '));
  if (status !== 0) throw new Error(`${name} ended with ${status ?? signal} after ${parts.length} parts\n${stdout}${stderr}`);
  console.log(`${name}: ${parts.length} parts passed`);
}
