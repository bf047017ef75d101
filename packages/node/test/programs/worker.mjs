// Works in a worker thread: connects, sends, and ends in the way that the test chooses.
import { parentPort, workerData } from 'node:worker_threads';

import { RaftClient } from 'zraft-client';

const { clusterMembers, commands, ending } = workerData;
const client = new RaftClient({ clusterMembers, capabilities: { kind: 'worker' } });
await client.connect();
await Promise.all(Array.from({ length: commands }, (_, index) => client.submitCommand(Buffer.from(`${index}`))));
if (ending === 'disconnect') await client.disconnect();
parentPort.postMessage({ answered: client.stats().answered, sessionId: client.sessionId });
if (ending === 'busy') {
  const again = () => client.submitCommand(Buffer.from('again')).then(again, () => {});
  for (let index = 0; index < 64; index++) again();
}
