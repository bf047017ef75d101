/**
 * The suite on replicated members instead of the embedded cluster. The tests are the same; what cannot run is listed here with its
 * reason.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import type { TestModule } from 'vitest/node';
import { defineConfig } from 'vitest/config';

const place = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const members = place(`../../target/debug/zraft-suites${process.platform === 'win32' ? '.exe' : ''}`);
if (!existsSync(members)) throw new Error(`${members} is missing: run ".ci/tests members" in the repository`);

/** Files whose tests stay with the embedded cluster, and why. */
const EMBEDDED_ONLY: Readonly<Record<string, string>> = {
  testCluster: 'tests the embedded cluster itself',
  application: 'runs applications in JavaScript, which the embedded cluster alone can do',
  typed: 'runs applications in JavaScript',
  package: 'tests the package as npm installs it, with the embedded cluster that it contains',
  guide: "runs the guide's programs, which start the embedded cluster or need none",
  workers: "counts the users of the package's thread, and the embedded cluster is one",
  threadFailure: 'leaves the process without memory for a thread of the embedded cluster',
  leaks: 'measures the memory of the client for minutes, whichever server answers',
};

const UNREAD = 'leaves 90 MiB of answers unread; a member closes a connection with more than 64 MiB, and the client resumes its session';
/** Single tests that stay with the embedded cluster, and why. */
const SINGLE: Readonly<Record<string, string>> = {
  'the end of the session is reported even if the outbox is full, and then the process exits': UNREAD,
  'a driver that is parked while the outbox is full reports its events first': UNREAD,
  'ConnectionError: no leader': 'needs an election of a minute; members that run elect a leader within a second',
  'serverRequestReceived is emitted once for all copies of a server request':
    'needs copies every 20 ms; a member sends a request again after 10 s or at a resume',
  'an idle watch leaves a leader that was cut off and misses nothing':
    'needs a leader that goes on answering keep-alives when it is cut off; a member closes its connections within a second',
};

/** A file needs a cluster if it starts one, by itself or through the fixtures. */
const needsCluster = (file: string): boolean => /\bstartCluster\(|\bTestCluster\.start\(/.test(readFileSync(place(`test/${file}`), 'utf8'));

const files = readdirSync(place('test')).filter((file) => file.endsWith('.test.ts'));
const users = files.filter(needsCluster);
const sources = users.map((file) => readFileSync(place(`test/${file}`), 'utf8')).join();
for (const name of Object.keys(EMBEDDED_ONLY))
  if (!users.includes(`${name}.test.ts`)) throw new Error(`no test file ${name} uses a cluster`);
for (const name of Object.keys(SINGLE)) if (!sources.includes(`'${name}'`)) throw new Error(`there is no test '${name}'`);
const here = users.filter((file) => !(file.replace('.test.ts', '') in EMBEDDED_ONLY));

/** Says how many tests ran on which server. */
class Census {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const ran = tests.filter((test) => test.result().state !== 'skipped').length;
    console.log(`\n${ran} tests of ${here.length} files ran on replicated members. Only on the embedded cluster:`);
    for (const [name, reason] of Object.entries({ ...EMBEDDED_ONLY, ...SINGLE })) console.log(`  ${name}: ${reason}`);
    console.log(`${files.length - users.length} files need no cluster.`);
  }
}

export default defineConfig({
  test: {
    include: here.map((file) => `test/${file}`),
    setupFiles: ['test/support/replicated.mjs', 'test/support/replicatedOnly.ts'],
    env: { TEST_MEMBERS: members, TEST_EMBEDDED_ONLY: JSON.stringify(SINGLE) },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', new Census()],
  },
});
