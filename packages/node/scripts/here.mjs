// Replaces src/here.ts in the modules for bundlers. Bundlers move the code, so modules are found from the place where it runs.
import { createRequire } from 'node:module';

export const home = '../..';
export const load = createRequire(typeof __filename === 'string' ? __filename : import.meta.url);
