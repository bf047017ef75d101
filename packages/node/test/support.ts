/** Helpers that several tests share. */

import { readdirSync, readFileSync } from 'node:fs';

/** Returns the number of this package's threads in this process, found by name; undefined except on Linux. */
export function runtimeThreads(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const names = readdirSync('/proc/self/task').map((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
    } catch {
      // The thread has ended since the folder was read.
      return '';
    }
  });
  return names.filter((name) => name === 'zraft-client').length;
}
