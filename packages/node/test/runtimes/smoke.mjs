// What the package must do in every runtime. Prints a line for each part, and ends by itself.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { tracingChannel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';

import { ConnectionError, json, OverloadedError, RaftClient, TimeoutError, TypedClient, ValidationError } from 'zraft-client';
import { get, readNotification, readValue, set, storeCodec, watch } from 'zraft-client/kv';
import { ApplicationError, TestCluster } from 'zraft-client/testing';

const bytes = (text) => Buffer.from(text);
const rejection = (promise) =>
  promise.then(
    () => assert.fail('should have been rejected'),
    (error) => error,
  );

/** Runs a part with a cluster of three members and a connected client. */
async function part(name, options, run, settings = {}) {
  const cluster = await TestCluster.start({ members: 3, electionPause: 20, ...options });
  const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'smoke' }, ...settings });
  await client.connect();
  try {
    await run(client, cluster);
    console.log(`ok: ${name}`);
  } finally {
    await client.disconnect();
    await cluster.stop().catch((error) => assert(error instanceof ApplicationError, error));
  }
}

await part('commands and queries', { application: 'kv' }, async (client) => {
  await client.submitCommand(set('key', 'value'));
  assert.equal(readValue(await client.submitQuery(get('key'))), 'value');
  assert((await client.ping()) >= 0);
  assert.equal(client.state, 'Connected');
});

await part('many commands, long payloads', { application: 'echo' }, async (client) => {
  const payloads = Array.from({ length: 2000 }, (_, index) => bytes(`command ${index}`));
  payloads.push(Buffer.alloc(5000, 1), Buffer.alloc(1_000_000, 2));
  const answers = await Promise.all(payloads.map((payload) => client.submitCommand(payload)));
  answers.forEach((answer, index) => assert(answer.equals(payloads[index])));
  const outcomes = await client.submitCommands(payloads).settled();
  outcomes.forEach((outcome, index) => assert(outcome.status === 'fulfilled' && outcome.value.equals(payloads[index])));
});

await part('server requests', { application: 'kv' }, async (client) => {
  const received = [];
  const two = new Promise((resolve) => {
    client.onServerRequest(({ payload }) => {
      received.push(readNotification(payload).value);
      if (received.length === 2) resolve();
    });
  });
  await client.submitCommand(watch('key'));
  await client.submitCommand(set('key', '1'));
  await client.submitCommand(set('key', '2'));
  await two;
  assert.deepEqual(received, ['1', '2']);
});

await part('a killed leader', { application: 'appendLog', commitsPerSecond: 2000 }, async (client, cluster) => {
  const resumed = new Promise((resolve) => client.once('connected', (event) => resolve(event.resumed)));
  const submitted = Array.from({ length: 200 }, (_, index) => client.submitCommand(bytes(`${index}`)));
  await submitted[0];
  await cluster.kill(await cluster.leaderElected(), 'unanswered');
  const positions = (await Promise.all(submitted)).map((answer) => Number(answer.readBigUInt64BE()));
  assert.equal(new Set(positions).size, 200);
  assert(await resumed);
});

await part(
  'errors, deadlines and signals',
  { application: 'echo' },
  async (client, cluster) => {
    assert.throws(() => client.submitCommand(Buffer.alloc(0)), ValidationError);
    assert(
      (await rejection(Promise.all([client.submitCommand(Buffer.alloc(600)), client.submitCommand(Buffer.alloc(600))]))) instanceof
        OverloadedError,
    );
    await client.ready();
    await cluster.dropMessages('answers');
    const error = await rejection(client.submitCommand(bytes('late'), { timeout: 20 }));
    assert(error instanceof TimeoutError && error.maybeExecuted);
    const controller = new AbortController();
    const aborted = rejection(client.submitQuery(bytes('x'), { signal: controller.signal }));
    controller.abort('enough');
    assert.equal((await aborted).cause, 'enough');
    await cluster.deliverAll();
    assert.equal(`${await error.resolution()}`, 'late');
    const nowhere = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities: { role: 'smoke' } });
    assert((await rejection(nowhere.connect({ timeout: 50 }))) instanceof ConnectionError);
  },
  { maxQueuedBytes: 1000 },
);

await part(
  'a blocked event loop',
  { application: 'echo', sessionTimeout: 600 },
  async (client) => {
    const { sessionId } = client;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    await client.submitCommand(bytes('x'));
    assert.equal(client.sessionId, sessionId);
  },
  { sessionTimeout: 600, keepAliveInterval: 100 },
);

await part('masked secrets', { application: 'echo' }, async (client) => {
  assert(!inspect(client).includes(client.sessionId) && !JSON.stringify(client).includes(client.sessionId));
});

await part('typed payloads', { application: 'kv' }, async (_, cluster) => {
  const store = new TypedClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'typed' } }, storeCodec);
  await store.connect();
  await store.submitCommand({ set: 'key', value: 'typed' });
  assert.equal(await store.submitQuery({ get: 'key' }), 'typed');
  await store.disconnect();
  assert.deepEqual(json().decode(json().encode({ a: [1] })), { a: [1] });
});

let sum = 0;
const application = {
  apply(command, { random, time }) {
    if (command.equals(bytes('clock'))) return bytes(`${Date.now()}`);
    sum += Number(command);
    return bytes(`${sum} ${random() < 1} ${time > 0}`);
  },
  query: () => bytes(`${sum}`),
};
await part('an application in JavaScript', { application }, async (client, cluster) => {
  assert.equal(`${await client.submitCommand(bytes('40'))}`, '40 true true');
  await cluster.stepDown();
  assert.equal(`${await client.submitCommand(bytes('2'))}`, '42 true true');
  assert.equal(`${await client.submitQuery(bytes('sum'))}`, '42');
  const refused = rejection(client.submitCommand(bytes('clock'), { timeout: 200 }));
  const failure = await rejection(cluster.journalReached(1000));
  assert(failure instanceof ApplicationError && failure === cluster.failure);
  assert.match(failure.message, /Date\.now\(\) differs/);
  await refused;
});

await part('tracing channels', { application: 'echo' }, async (client) => {
  const events = [];
  const on = (name) => (call) => void events.push(`${name} ${call.memberId} ${call.payloadBytes}`);
  const subscribers = Object.fromEntries(['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((name) => [name, on(name)]));
  const channel = tracingChannel('zraft:command');
  channel.subscribe(subscribers);
  await client.submitCommand(bytes('1234'));
  channel.unsubscribe(subscribers);
  await client.submitCommand(bytes('not traced'));
  assert.deepEqual(
    events,
    ['start', 'end', 'asyncStart', 'asyncEnd'].map((name) => `${name} node-1 4`),
  );
});

assert.equal(createRequire(import.meta.url)('zraft-client').RaftClient, RaftClient);
console.log('ok: CommonJS');
