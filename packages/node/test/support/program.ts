/** Programs of users, each in its own process. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';
import type { ClientConfig } from 'zraft-client';

import { HANG } from './fixtures';

/** The exit status and the output of a program. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running program. */
export interface Program {
  /** Waits until it has printed a line. */
  printed(line: string): Promise<void>;
  /** Waits until it ends by itself. */
  ended(): Promise<Outcome>;
}

const OPENING = `
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';
const clusterMembers = JSON.parse(process.env.CLUSTER_MEMBERS ?? '{}');
const capabilities = { role: 'program' };
`;

/** If the suite runs on replicated members, so do the clusters of programs. */
const members = process.env['TEST_MEMBERS'];
const replicated = members === undefined ? [] : ['--import', new URL('./replicated.mjs', import.meta.url).href];

/**
 * Starts a program. `RaftClient` and `TestCluster` are imported, and `clusterMembers` (of `cluster`) and `capabilities` are
 * defined.
 */
export function startProgram(code: string, cluster?: Pick<ClientConfig, 'clusterMembers'>, flags: string[] = []): Program {
  const clusterMembers = cluster === undefined ? {} : Object.fromEntries(cluster.clusterMembers as Map<string, string>);
  const child = spawn(process.execPath, [...flags, ...replicated, '--input-type=module', '--eval', OPENING + code], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    // The test runner's settings must not reach the program.
    env: {
      PATH: process.env['PATH'],
      SystemRoot: process.env['SystemRoot'],
      CLUSTER_MEMBERS: JSON.stringify(clusterMembers),
      ...(members === undefined ? {} : { TEST_MEMBERS: members }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  onTestFinished(() => void child.kill('SIGKILL'));
  return {
    async printed(line) {
      const signal = AbortSignal.timeout(HANG);
      while (!output.stdout.split('\n').includes(line)) {
        if (child.exitCode !== null) throw new Error(`ended without printing ${line}: ${JSON.stringify(output)}`);
        await Promise.race([once(child.stdout, 'data', { signal }), closed]);
      }
    },
    async ended() {
      const [status] = await closed;
      return { status, ...output };
    },
  };
}

/** Runs a program until it ends by itself. */
export function runProgram(code: string, cluster?: Pick<ClientConfig, 'clusterMembers'>): Promise<Outcome> {
  return startProgram(code, cluster).ended();
}

/** Returns the outcome of a program that exited with 0 and printed these lines. */
export function printed(...lines: string[]): Outcome {
  return { status: 0, stdout: lines.map((line) => `${line}\n`).join(''), stderr: '' };
}
