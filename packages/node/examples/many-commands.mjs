// Many commands at once: by Promise.all, and as a stream that waits while too much is under way.
import { RaftClient } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

const cluster = await TestCluster.start({ application: 'echo' });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'loader' }, maxQueued: 2000 });
await client.connect();

// No need to count what is in flight: the client keeps at most `maxInFlight` on the wire, and the rest in order behind them.
const payloads = Array.from({ length: 1000 }, (_, index) => Buffer.from(`command ${index}`));
const answers = await Promise.all(payloads.map((payload) => client.submitCommand(payload)));
console.log(`${answers.length} answers, the last to ${answers.at(-1)}`);

// More than `maxQueued` at once is refused with OverloadedError: ready() resolves when there is room.
let answered = 0;
const all = [];
for (let index = 0; index < 10_000; index++) {
  await client.ready();
  all.push(client.submitCommand(Buffer.from(`row ${index}`)).then(() => answered++));
}
await Promise.all(all);
console.log(`${answered} rows`);

const { sent, resent, notExecuted, unknown } = client.stats();
console.log({ sent, resent, notExecuted, unknown });
await client.disconnect();
await cluster.stop();
