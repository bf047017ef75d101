// Sets, gets and watches a key of the key-value store.
import { RaftClient } from 'zraft-client';
import { get, readNotification, readValue, set, watch } from 'zraft-client/kv';
import { TestCluster } from 'zraft-client/testing';

// An embedded cluster in this process. For a real cluster, put its members into `clusterMembers`.
const cluster = await TestCluster.start({ members: 3 });
const { clusterMembers } = cluster;

const client = new RaftClient({ clusterMembers, capabilities: { protocol: 'kvstore' } });
const notified = new Promise((/** @type {(value: undefined) => void} */ resolve) => {
  // Notifications arrive in order, each once.
  client.onServerRequest(({ payload }) => {
    const { key, value } = readNotification(payload);
    console.log(`${key} is now ${value}`);
    if (value === 'green') resolve(undefined);
  });
});
// A watch belongs to its session and survives reconnects with it. A new session needs a new watch.
client.on('connected', ({ resumed }) => {
  if (!resumed) client.submitCommand(watch('light')).catch((error) => console.error(`not watching: ${error.message}`));
});

await client.connect();
console.log(`light was ${readValue(await client.submitQuery(get('light'))) ?? 'never set'}`);
await client.submitCommand(set('light', 'red'));
await client.submitCommand(set('light', 'green'));
await notified;

await client.disconnect();
await cluster.stop();
