// In place of src/here.ts in the modules for bundlers, which move the code: what is loaded is looked for from where it runs.
import { createRequire } from 'node:module';

export const home = '../..';
export const load = createRequire(typeof __filename === 'string' ? __filename : import.meta.url);
