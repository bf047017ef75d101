// Ends its environment while the cluster waits for a function of the application: by process.exit(), or as a worker that is terminated.
import { parentPort } from 'node:worker_threads';

import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

const apply = () => {
  if (parentPort === null) process.exit(7);
  parentPort.postMessage('in apply');
  for (;;);
};
const cluster = await TestCluster.start({ application: { apply, query: (query) => query } });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'exit' } });
await client.connect();
await client.submitCommand(Buffer.from('end'));
