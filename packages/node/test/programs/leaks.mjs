// Sends a million requests, or opens and closes a thousand sessions, and prints the memory before and after.
import { setImmediate } from 'node:timers/promises';

import { RaftClient } from 'zraft-client';

const [work, members] = process.argv.slice(2);
const settings = { clusterMembers: JSON.parse(members), capabilities: { kind: 'leaks' } };
const payload = Buffer.from('sixteen bytes ..');

async function requests(client, count) {
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      if (left % 2 === 0) await client.submitCommand(payload);
      else await client.submitQuery(payload);
    }
  };
  await Promise.all(Array.from({ length: 256 }, lane));
}

async function cycles(count) {
  for (let cycle = 0; cycle < count; cycle++) {
    const client = new RaftClient(settings);
    client.on('connected', () => {});
    client.onServerRequest(() => {});
    await client.connect();
    await Promise.all(Array.from({ length: 10 }, () => client.submitCommand(payload)));
    await client.disconnect();
  }
}

async function memory() {
  // Finalizers need a turn of the event loop each.
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    await setImmediate();
  }
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
  return { heap: heapUsed, outside: external + arrayBuffers, rss };
}

let before;
if (work === 'requests') {
  const client = new RaftClient(settings);
  await client.connect();
  await requests(client, 1_000_000);
  before = await memory();
  await requests(client, 1_000_000);
  await client.disconnect();
} else {
  await cycles(100);
  before = await memory();
  // With little work the engine collects garbage late, so collect it now.
  for (let round = 0; round < 10; round++) {
    await cycles(100);
    await memory();
  }
}
const after = await memory();
process.stdout.write(JSON.stringify({ before, after }));
