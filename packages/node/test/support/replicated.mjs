/**
 * Puts replicated members in the place of the embedded cluster: a test or a program that imports this first, and then starts a
 * `TestCluster`, gets the members of the program in TEST_MEMBERS, which cargo builds from `verification/suites`.
 */

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { native } = createRequire(import.meta.url)('../../dist/native.js');

/** The number of the call that starts a cluster. */
const START = 1;

/** The interface of `NativeCluster`, with members in a process that ends when its input does: with this process at the latest. */
class ReplicatedCluster {
  #child;
  #answer;
  #calls = new Set([START]);

  constructor(options, answer) {
    this.#answer = answer;
    this.#child = spawn(process.env.TEST_MEMBERS, [options], { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdin, stdout } = this.#child;
    createInterface({ input: stdout }).on('line', (line) => {
      const [number, result] = JSON.parse(line);
      this.#settle(number, result);
    });
    // A write to a process that has ended fails; its calls are settled below.
    stdin.on('error', () => {});
    const ended = (why) => this.#calls.forEach((number) => this.#settle(number, { error: `the members' process has ended: ${why}` }));
    this.#child.on('error', ended).on('close', ended);
    // As the embedded cluster, the process keeps no event loop alive by itself.
    for (const each of [this.#child, stdin, stdout]) each.unref();
  }

  call(number, name, args, payload) {
    this.#calls.add(number);
    this.#child.stdin.write(`${JSON.stringify([number, name, JSON.parse(args), Buffer.from(payload).toString('hex')])}\n`);
  }

  release() {
    this.#child.stdin.end();
  }

  #settle(number, result) {
    if (this.#calls.delete(number)) this.#answer(number, JSON.stringify(result));
  }
}

Object.defineProperty(native, 'NativeCluster', { value: ReplicatedCluster, configurable: true });
