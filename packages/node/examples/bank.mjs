// Your own application in JavaScript on the embedded cluster: a bank whose transfers survive the death of the leader.
import { RaftClient } from 'zraft-client';
import { RejectedPayload, TestCluster } from 'zraft-client/testing';

/**
 * @typedef {{ open: string, deposit: number } | { from: string, to: string, amount: number }} Command
 * @typedef {{ balance: string } | { total: true }} Query
 */

/** @param {unknown} value */
const encode = (value) => Buffer.from(JSON.stringify(value));

/** @param {Buffer} bytes */
const decode = (bytes) => {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    // The cluster closes the connection, where a live member would stop answering.
    throw new RejectedPayload('not JSON');
  }
};

/**
 * The application: its state, and the functions that the cluster calls in the order of the log. They are deterministic: the same
 * commands give the same balances on every member.
 *
 * @returns {import('zraft-client/testing').Application}
 */
function bank() {
  /** @type {Map<string, { balance: number, owner: import('zraft-client').SessionId }>} */
  const accounts = new Map();
  return {
    apply(payload, { sessionId, pushServerRequest }) {
      const command = /** @type {Command} */ (decode(payload));
      if ('open' in command) {
        if (accounts.has(command.open)) return encode({ error: 'the account exists' });
        accounts.set(command.open, { balance: command.deposit, owner: sessionId });
        return encode({ balance: command.deposit });
      }
      const [from, to] = [accounts.get(command.from), accounts.get(command.to)];
      // What the client should see is an answer. An error that is thrown ends the application.
      if (from === undefined || to === undefined) return encode({ error: 'no such account' });
      if (from.balance < command.amount) return encode({ error: 'not enough money' });
      from.balance -= command.amount;
      to.balance += command.amount;
      pushServerRequest(to.owner, encode({ from: command.from, amount: command.amount }));
      return encode({ balance: from.balance });
    },
    query(payload) {
      const query = /** @type {Query} */ (decode(payload));
      if ('balance' in query) return encode(accounts.get(query.balance)?.balance ?? null);
      return encode([...accounts.values()].reduce((total, { balance }) => total + balance, 0));
    },
  };
}

// Server requests that a dead leader could not send are sent again after 100 ms instead of 10 s.
const cluster = await TestCluster.start({ members: 3, application: bank(), redeliveryInterval: 100 });
const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'example' } });
/** @type {(command: Command) => Promise<any>} */
const submit = async (command) => decode(await client.submitCommand(encode(command)));
/** @type {(query: Query) => Promise<any>} */
const ask = async (query) => decode(await client.submitQuery(encode(query)));

let received = 0;
const allReceived = new Promise((resolve) => {
  client.onServerRequest(({ payload }) => {
    received += decode(payload).amount;
    if (received === 50) resolve(undefined);
  });
});
await client.connect();
console.log(await submit({ open: 'ann', deposit: 100 }), await submit({ open: 'bob', deposit: 0 }));
console.log(await submit({ from: 'ann', to: 'bob', amount: 1000 }));

// The leader dies after it has executed what it received, and before it has answered. The client sends the transfers again to the
// next leader, and each runs once.
const leader = await cluster.leaderElected();
const transfers = Array.from({ length: 50 }, () => submit({ from: 'ann', to: 'bob', amount: 1 }));
await cluster.kill(leader, 'unanswered');
await Promise.all(transfers);

console.log(`ann ${await ask({ balance: 'ann' })}, bob ${await ask({ balance: 'bob' })}, together ${await ask({ total: true })}`);
await allReceived;
console.log(`bob was notified of ${received}`);
await client.disconnect();
await cluster.stop();
