// Writes the ESM doors of the package: one module instance serves `import` and `require` alike.
import { readFileSync, writeFileSync } from 'node:fs';

for (const name of ['index', 'kv', 'testing']) {
  writeFileSync(`dist/${name}.mjs`, `export * from './${name}.js';\n`);
  writeFileSync(`dist/${name}.d.mts`, `export * from './${name}.js';\n`);
  readFileSync(`dist/${name}.js`);
}
