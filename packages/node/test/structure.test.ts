/** The modules of the package form layers. */

import { readdirSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const folder = new URL('../src/', import.meta.url);

/** The modules that a module imports, types included. */
function importsOf(module: string): string[] {
  const source = readFileSync(new URL(`${module}.ts`, folder), 'utf8');
  return [...source.matchAll(/\bfrom '\.\/(\w+)'/g)].map(([, name]) => name as string);
}

test('no module of the package imports itself, directly or through others', () => {
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts'));
  const modules = files.map((file) => file.replace(/\.ts$/, ''));
  expect(modules).toContain('client');
  const finished = new Set<string>();
  const visit = (module: string, path: readonly string[]): void => {
    expect(path, 'a circle of imports').not.toContain(module);
    if (finished.has(module)) return;
    for (const imported of importsOf(module)) visit(imported, [...path, module]);
    finished.add(module);
  };
  for (const module of modules) visit(module, []);
  expect(finished.size).toBe(modules.length);
});
