/** Where this package is. The modules for bundlers have `scripts/here.mjs` in its place. */

/** @internal The package's folder, from here. */
export const home = '..';
/** @internal Loads a module by its path from here, or by its name. */
export const load: NodeJS.Require = require;
