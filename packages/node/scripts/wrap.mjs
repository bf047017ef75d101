// Writes the ESM doors of the package: one module instance serves `import` and `require` alike. Bundlers take other modules,
// by the condition "module": they cannot follow a `require` of Node's own modules into an ESM bundle.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const NAMES = ['index', 'kv', 'testing'];

for (const name of NAMES) {
  writeFileSync(`dist/${name}.mjs`, `export * from './${name}.js';\n`);
  writeFileSync(`dist/${name}.d.mts`, `export * from './${name}.js';\n`);
  readFileSync(`dist/${name}.js`);
}

const here = {
  name: 'here',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/here$/ }, () => ({ path: fileURLToPath(new URL('here.mjs', import.meta.url)) }));
  },
};

await build({
  entryPoints: NAMES.map((name) => `src/${name}.ts`),
  outdir: 'dist/module',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  plugins: [here],
});
