/** A registry for `npm install` with the packages of a folder and no others. */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { join } from 'node:path';

/** A running registry, and the tarballs that were fetched from it. */
export interface Registry {
  readonly url: string;
  readonly fetched: string[];
  close(): void;
}

/** Serves the tarballs of a folder. `describe` returns the package.json of each. */
export async function startRegistry(folder: string, describe: (tarball: string) => { name: string; version: string }): Promise<Registry> {
  const fetched: string[] = [];
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  const byName = new Map(tarballs.map((tarball) => [describe(join(folder, tarball)).name, tarball]));
  const server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? '').slice(1));
    const tarball = byName.get(name);
    if (tarballs.includes(name)) {
      fetched.push(name);
      response.end(readFileSync(join(folder, name)));
    } else if (tarball !== undefined) {
      const manifest = describe(join(folder, tarball));
      const integrity = `sha512-${createHash('sha512')
        .update(readFileSync(join(folder, tarball)))
        .digest('base64')}`;
      const dist = { tarball: `http://${request.headers.host}/${tarball}`, integrity };
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ name, 'dist-tags': { latest: manifest.version }, versions: { [manifest.version]: { ...manifest, dist } } }),
      );
    } else {
      response.writeHead(404).end('{}');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    fetched,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
