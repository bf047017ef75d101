/** Internals of the package that tests use. */

import type { Native } from '../../src/native';

declare module '../../dist/native.js' {
  export const native: Native;
}

export type { Setting } from '../../src/native';
export { native } from '../../dist/native.js';
export { Requests } from '../../dist/requests.js';
