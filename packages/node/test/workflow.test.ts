/** The workflow builds and tests every platform that the package supports. */

import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const { napi, engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  napi: { targets: string[] };
  engines: { node: string };
};
const workflow = readFileSync(new URL('../../../.github/workflows/node-packages.yml', import.meta.url), 'utf8');

/** The text of each job, by name. */
const jobs = new Map(
  workflow
    .slice(workflow.indexOf('\njobs:'))
    .split(/^ {2}(?=[a-z-]+:$)/m)
    .slice(1)
    .map((job) => [job.slice(0, job.indexOf(':')), job]),
);

const TRIPLE = /\b(?:x86_64|aarch64)-[a-z]+(?:-[a-z]+)+\b/g;
const targets = (...names: string[]): string[] => {
  const found = names.flatMap((name) => jobs.get(name)?.match(TRIPLE) ?? []);
  return [...new Set(found)].sort();
};

test('Linux with glibc and musl, macOS and Windows, each on x64 and arm64', () => {
  const systems = ['apple-darwin', 'pc-windows-msvc', 'unknown-linux-gnu', 'unknown-linux-musl'];
  const all = ['aarch64', 'x86_64'].flatMap((processor) => systems.map((system) => `${processor}-${system}`));
  expect([...napi.targets].sort()).toEqual(all);
});

test('every target is built and tested', () => {
  const all = [...napi.targets].sort();
  expect(targets('build', 'build-musl')).toEqual(all);
  expect(targets('test', 'test-musl')).toEqual(all);
});

test('the oldest supported Node is tested', () => {
  expect(engines.node).toBe('>=20');
  for (const name of ['test', 'test-musl']) expect(jobs.get(name)).toMatch(/node: \["20", /);
});
