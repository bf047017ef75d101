/** What several tests share. */

import { readdirSync, readFileSync } from 'node:fs';

/** The runtime threads of this package in this process, by their name; undefined where the system does not tell. */
export function runtimeThreads(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const names = readdirSync('/proc/self/task').map((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
    } catch {
      // It ended meanwhile.
      return '';
    }
  });
  return names.filter((name) => name === 'zraft-client').length;
}
