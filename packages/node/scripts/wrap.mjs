// Writes the ESM entry points of the package. They re-export the CommonJS modules, so that `import` and `require` share one
// instance. Bundlers use other modules, by the condition "module": they cannot put a `require` of Node's own modules into an ESM
// bundle.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const NAMES = ['index', 'kv', 'opentelemetry', 'testing'];

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
  // An optional peer, which the application brings.
  external: ['@opentelemetry/api'],
  plugins: [here],
});
