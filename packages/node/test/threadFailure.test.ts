/** The client on a system that has no resources for its thread. */

import { spawnSync } from 'node:child_process';

import { expect, test } from 'vitest';

import { printed, runProgram } from './support/program';

/** The program of Linux that limits the address space of a running process. */
const hasPrlimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

test.skipIf(!hasPrlimit)('connect rejects if the thread cannot be started, and works once it can', async () => {
  const outcome = await runProgram(`
    import { execFileSync } from 'node:child_process';
    import { readFileSync } from 'node:fs';

    const limit = (bytes) => execFileSync('prlimit', ['--pid', process.pid, \`--as=\${bytes}:\`]);
    const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    // A thread needs 2 MiB of address space for its stack.
    const [, size] = /VmSize:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
    limit(Number(size) * 1024 + 1024 * 1024);
    const queued = client.connect().catch((error) => error);
    const command = client.submitCommand(Buffer.from('x')).catch((error) => error);
    const { code, message, maybeExecuted } = await queued;
    console.log('during', code, maybeExecuted, message.startsWith("cannot start the client's thread: "), client.state);
    console.log('command', (await command).maybeExecuted);
    const cluster = await TestCluster.start().catch((error) => error);
    console.log('cluster', cluster instanceof Error);
    await client.disconnect();

    limit('unlimited');
    const later = await TestCluster.start({ application: 'echo' });
    const second = new RaftClient({ clusterMembers: later.clusterMembers, capabilities });
    await second.connect();
    console.log('after', String(await second.submitCommand(Buffer.from('answer'))));
    await second.disconnect();
    await later.stop();
  `);
  expect(outcome).toEqual(printed('during CLOSED false true Disconnected', 'command false', 'cluster true', 'after answer'));
});
