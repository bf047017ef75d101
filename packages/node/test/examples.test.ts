/** The examples run and print the expected output. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, onTestFinished, test } from 'vitest';

const folder = fileURLToPath(new URL('../examples/', import.meta.url));

const OUTPUT: Record<string, string> = {
  'bank.mjs': `
{ balance: 100 } { balance: 0 }
{ error: 'not enough money' }
ann 50, bob 50, together 100
bob was notified of 50
`,
  'key-value.mjs': `
light was never set
light is now red
light is now green
`,
  'many-commands.mjs': `
1000 answers, the last to command 999
10000 rows
10000 rows in blocks
{ sent: 21000, resent: 0, notExecuted: 0, unknown: 0 }
`,
  'opentelemetry.mjs': `
zraft.Session/Connect: parent handle an order, member node-1, error none
zraft.Session/SubmitCommand: parent handle an order, member node-1, error none
zraft.Session/SubmitQuery: parent handle an order, member node-1, error none
zraft.Session/SubmitCommand: parent handle an order, member node-1, error CANCELLED
handle an order: parent none
`,
  'errors.mjs': `
before connect(): NOT_CONNECTED, not executed: connect() first
empty: VALIDATION, not executed: a bug in the program: nothing was sent
too long: VALIDATION, not executed: a bug in the program: nothing was sent
too much: OVERLOADED, not executed: await ready(), then submit again
aborted: CANCELLED, not executed: submit again if it is still wanted
no answer in time: TIMEOUT, maybe executed: read the state, or await resolution()
resolution: payload
expired: SESSION_EXPIRED, maybe executed: read the state in a new session
closed: CLOSED, maybe executed: disconnect() came before the answer
no member there: CONNECTION, not executed: no member leads or is reachable: read the cause, try again later
`,
};

test.each(Object.entries(OUTPUT))('%s prints the expected output', (name, output) => {
  const printed = execFileSync(process.execPath, [name], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  expect(`\n${printed}`).toBe(output);
});

// Windows has no signals that a process can handle.
test.skipIf(process.platform === 'win32')('graceful-shutdown.mjs works until a signal stops it, and leaves no session open', async () => {
  const child = spawn(process.execPath, ['graceful-shutdown.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    if (printed === 'working\n') child.kill('SIGTERM');
  });
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(printed).toBe('working\nstopped: 0 requests unanswered\n');
});

test('every example is run', () => {
  const examples = readdirSync(folder).filter((name) => name.endsWith('.mjs'));
  expect(examples.sort()).toEqual([...Object.keys(OUTPUT), 'graceful-shutdown.mjs'].sort());
});
