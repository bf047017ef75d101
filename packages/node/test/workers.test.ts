/** Clients in worker threads, and environments that end with clients open. */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestCluster } from 'zraft-client/testing';

import { native } from '../dist/native.js';
import { runtimeThreads } from './support';

let cluster: TestCluster;

beforeEach(async () => {
  cluster = await TestCluster.start({ application: 'echo' });
});

afterEach(() => cluster.stop());

function work(ending: 'disconnect' | 'leave' | 'busy'): Worker {
  const url = new URL('./programs/worker.mjs', import.meta.url);
  return new Worker(url, { workerData: { clusterMembers: cluster.clusterMembers, commands: 500, ending } });
}

async function report(worker: Worker): Promise<{ answered: number }> {
  const [message] = (await once(worker, 'message')) as [{ answered: number }];
  return message;
}

test("clients in several workers share the process's one thread", async () => {
  const workers = [work('leave'), work('leave'), work('leave')];
  const reports = await Promise.all(workers.map(report));

  expect(reports.map(({ answered }) => answered)).toEqual([500, 500, 500]);
  expect(native.runtimeUsers()).toBe(4);
  expect(runtimeThreads() ?? 1).toBe(1);
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test('a worker ends by itself after disconnect()', async () => {
  const worker = work('disconnect');
  const ended = once(worker, 'exit');

  expect((await report(worker)).answered).toBe(500);
  expect(await ended).toEqual([0]);
  expect(native.runtimeUsers()).toBe(1);
});

test('a worker that is terminated while it works releases the thread', async () => {
  for (let round = 0; round < 5; round++) {
    const worker = work('busy');
    await report(worker);
    expect(native.runtimeUsers()).toBe(2);
    await worker.terminate();
    expect(native.runtimeUsers()).toBe(1);
  }
});

test('the thread ends with its last user and starts again for the next', async () => {
  const other = await TestCluster.start();
  await cluster.stop();
  expect(runtimeThreads() ?? 1).toBe(1);
  await other.stop();

  expect(native.runtimeUsers()).toBe(0);
  expect(runtimeThreads() ?? 0).toBe(0);
  cluster = await TestCluster.start({ application: 'echo' });
  expect(runtimeThreads() ?? 1).toBe(1);
});

test('a process can exit while clients work', () => {
  const url = new URL('./programs/exit.mjs', import.meta.url);
  const child = spawnSync(process.execPath, [fileURLToPath(url)], { encoding: 'utf8', timeout: 60_000 });

  expect(child).toMatchObject({ status: 7, signal: null, stdout: '', stderr: '' });
});
