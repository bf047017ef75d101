// Exits while a client works, without output.
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

const cluster = await TestCluster.start({ application: 'echo' });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { kind: 'exit' } });
await client.connect();
let left = 1000;
const again = () => {
  if (left-- === 0) process.exit(7);
  client.submitCommand(Buffer.from('again')).then(again);
};
for (let index = 0; index < 64; index++) again();
