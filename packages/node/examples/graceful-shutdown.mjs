// Shuts down on a signal: takes no new work, waits for the answers of submitted requests, closes the session, and exits.
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

const cluster = await TestCluster.start({ application: 'echo', commitDelay: 20 });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'worker' } });
await client.connect();

let answered = 0;
let stopping = false;

async function work() {
  while (!stopping) {
    await client.submitCommand(Buffer.from('work'));
    if (++answered === 10) console.log('working');
  }
}
const workers = [work(), work(), work()];

async function shutDown() {
  stopping = true;
  // Waits for submitted requests, by default up to 5 s. Never rejects.
  await client.disconnect({ timeout: 10_000 });
  // Requests without an answer in this time reject with ClosedError; `maybeExecuted` says if they may have been executed.
  const ends = await Promise.allSettled(workers);
  console.log(`stopped: ${ends.filter(({ status }) => status === 'rejected').length} requests unanswered`);
  await cluster.stop();
  // Nothing keeps the process alive now, so it exits by itself.
}
process.once('SIGTERM', shutDown);
process.once('SIGINT', shutDown);
