// Ends well when told to: takes no new work, lets what was submitted be answered, closes the session, and exits.
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
  // Waits up to 5 s by default for what is under way; never rejects.
  await client.disconnect({ timeout: 10_000 });
  // What the time did not suffice for is rejected with ClosedError; `maybeExecuted` says whether it may have been executed.
  const ends = await Promise.allSettled(workers);
  console.log(`stopped: ${ends.filter(({ status }) => status === 'rejected').length} requests left over`);
  await cluster.stop();
  // Nothing keeps the process alive any more: it exits by itself.
}
process.once('SIGTERM', shutDown);
process.once('SIGINT', shutDown);
