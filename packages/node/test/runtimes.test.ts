/** The smoke test of all runtimes runs in Node, too. `npm run test:runtimes` runs it in Bun and Deno. */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

test('the smoke test of the other runtimes passes in Node', () => {
  const run = fileURLToPath(new URL('./runtimes/run.mjs', import.meta.url));
  expect(execFileSync(process.execPath, [run, 'node'], { encoding: 'utf8' })).toBe('node: 11 parts passed\n');
});
