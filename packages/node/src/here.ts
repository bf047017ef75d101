/** The place of this package. The modules for bundlers use `scripts/here.mjs` instead. */

/** @internal The package's folder, relative to this module. */
export const home = '..';
/** @internal Loads a module by its path relative to this module, or by its name. */
export const load: NodeJS.Require = require;
