// Many commands at once: with Promise.all, as a stream that waits while the queue is full, and in one call.
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

const cluster = await TestCluster.start({ application: 'echo' });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'loader' }, maxQueued: 2000 });
await client.connect();

// The program need not count requests in flight: the client sends at most `maxInFlight` at once and queues the rest in order.
const payloads = Array.from({ length: 1000 }, (_, index) => Buffer.from(`command ${index}`));
const answers = await Promise.all(payloads.map((payload) => client.submitCommand(payload)));
console.log(`${answers.length} answers, the last to ${answers.at(-1)}`);

// The client refuses more than `maxQueued` requests with OverloadedError. ready() resolves when there is room.
let answered = 0;
const all = [];
for (let index = 0; index < 10_000; index++) {
  await client.ready();
  all.push(client.submitCommand(Buffer.from(`row ${index}`)).then(() => answered++));
}
await Promise.all(all);
console.log(`${answered} rows`);

// One call for a block of commands costs less for each. Every command has its own outcome.
let executed = 0;
for (let block = 0; block < 10; block++) {
  const rows = Array.from({ length: 1000 }, (_, index) => Buffer.from(`row ${block}-${index}`));
  for await (const outcome of client.submitCommands(rows)) if (outcome.status === 'fulfilled') executed++;
}
console.log(`${executed} rows in blocks`);

const { sent, resent, notExecuted, unknown } = client.stats();
console.log({ sent, resent, notExecuted, unknown });
await client.disconnect();
await cluster.stop();
