/** SERVERs of other implementations, as processes controlled line by line. See `verification/interop/README.md`. */

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';

import { signal } from '../support/fixtures';

const FOLDER = fileURLToPath(new URL('../../../../verification/interop/', import.meta.url));
const PATIENCE = 30_000;

/** An implementation and the command that runs its server. */
export interface Make {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly needs: string;
}

const target = `${FOLDER}jeromq/target`;

const MAKES: readonly Make[] = [
  {
    name: 'JeroMQ',
    program: 'java',
    args: ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xmx256m', '-cp', `${target}/classes:${target}/lib/*`, 'Server'],
    needs: `${target}/lib/jeromq-0.5.4.jar`,
  },
  {
    name: 'libzmq',
    program: process.execPath,
    args: ['--no-warnings', `${FOLDER}libzmq/server.mjs`],
    needs: `${FOLDER}libzmq/node_modules/zeromq/package.json`,
  },
];

/** Returns the implementations that can run here. Prints those left out, or with `CI=true` fails for them. */
export const makes: readonly Make[] = MAKES.filter(({ name, program, needs }) => {
  const runs = spawnSync(program, [program === 'java' ? '-version' : '--version'], { stdio: 'ignore' }).status === 0;
  if (runs && existsSync(needs)) return true;
  const what = `${name} cannot be run (verification/interop/prepare): its tests from Node are LEFT OUT`;
  if (process.env['CI'] === 'true') throw new Error(what);
  process.stderr.write(`\n*** ${what} ***\n\n`);
  return false;
});

/** A peer's process, which ends with the test. */
export class Peer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: string[] = [];
  #more = signal();
  endpoint = '';

  private constructor(make: Make) {
    this.#child = spawn(make.program, [...make.args, 'port=*']);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#more.resolve();
      this.#more = signal();
    });
    onTestFinished(async () => {
      this.#child.stdin.end();
      await once(this.#child, 'close');
    });
  }

  /** Starts a SERVER on loopback. */
  static async server(make: Make): Promise<Peer> {
    const peer = new Peer(make);
    peer.endpoint = `tcp://127.0.0.1:${await peer.report('listening ')}`;
    return peer;
  }

  /** Sends a command and waits until the peer has carried it out. */
  async command(command: string): Promise<void> {
    this.#child.stdin.write(`${command}\n`);
    await this.report(`done ${command.split(' ')[0]}`);
  }

  /** Waits for the next report with this beginning and returns the rest of it. Other reports stay for later calls. */
  async report(beginning: string): Promise<string> {
    const timeout = AbortSignal.timeout(PATIENCE);
    for (;;) {
      const place = this.#lines.findIndex((line) => line.startsWith(beginning));
      const [line] = place < 0 ? [] : this.#lines.splice(place, 1);
      if (line !== undefined) return line.slice(beginning.length);
      await Promise.race([this.#more.promise, once(timeout, 'abort').then(() => Promise.reject(new Error(`no report '${beginning}'`)))]);
    }
  }

  /** Returns the ids and payloads of the applied commands. */
  async log(): Promise<string[]> {
    this.#child.stdin.write('log\n');
    return (await this.report('log ')).split(' ').map((entry) => {
      const [id, payload = ''] = entry.split(':');
      return `${id}: ${Buffer.from(payload, 'hex').toString()}`;
    });
  }
}
