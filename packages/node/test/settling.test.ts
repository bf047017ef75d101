/**
 * Every promise settles. Rejections and exceptions that the application does not handle are reported as Node reports them,
 * and nothing else is.
 */

import { expect, test } from 'vitest';

import { startCluster } from './support/fixtures';
import { printed, runProgram } from './support/program';

/** Prints unhandled rejections and exceptions, and continues. */
const WATCH = `
process.on('unhandledRejection', (error) => console.log('unhandled', error.code ?? error.message));
process.on('uncaughtException', (error) => console.log('uncaught', error.message));
const failure = (promise) => promise.then(() => 'answered', (error) => error.code);
`;

test('an unhandled rejection is reported exactly once', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    client.submitCommand(Buffer.from('x'));
    `);
  expect(outcome).toEqual(printed('unhandled NOT_CONNECTED'));
});

test('a late or missing answer causes no unhandled rejection unless resolution is called', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.dropMessages('ClientResponse');
  const outcome = await runProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities, detachedTimeout: 30, requestTimeout: 10 });
    await client.connect();
    const failures = await Promise.all(Array.from({ length: 20 }, () => failure(client.submitCommand(Buffer.from('x')))));
    console.log([...new Set(failures)].join());
    const controller = new AbortController();
    const cancelled = failure(client.submitCommand(Buffer.from('x'), { signal: controller.signal }));
    controller.abort();
    console.log(await cancelled);
    while (client.stats().detached > 0) await new Promise(setImmediate);
    console.log(await failure(client.submitCommand(Buffer.from('detached at the end'))));
    await client.disconnect({ timeout: 0 });
    `,
    cluster,
  );
  expect(outcome).toEqual(printed('TIMEOUT', 'CANCELLED', 'TIMEOUT'));
});

test('everything pending settles when the client is closed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.dropMessages('answers');
  await cluster.dropMessages('KeepAliveResponse');
  const outcome = await runProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities, maxInFlight: 2 });
    await client.connect();
    const pending = [];
    for (let index = 0; index < 10; index++) {
      pending.push(failure(client.submitCommand(Buffer.from('x'))), failure(client.submitQuery(Buffer.from('x'))));
    }
    pending.push(failure(client.ping()), failure(client.ready()));
    const iteration = (async () => { for await (const _ of client.serverRequests); return 'iteration ended'; })();
    await client.disconnect({ timeout: 10 });
    console.log([...new Set(await Promise.all(pending))].sort().join(), await iteration);
    `,
    cluster,
  );
  expect(outcome).toEqual(printed('CLOSED,answered iteration ended'));
});

test('everything pending settles when the session expires', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start({ application: 'echo' });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities, maxInFlight: 2 });
    await client.connect();
    await cluster.dropMessages('answers');
    const pending = [];
    for (let index = 0; index < 10; index++) {
      pending.push(failure(client.submitCommand(Buffer.from('x'))), failure(client.submitQuery(Buffer.from('x'))));
    }
    const iteration = (async () => { for await (const _ of client.serverRequests); return 'iteration ended'; })();
    await cluster.expireSession(client.sessionId);
    console.log([...new Set(await Promise.all(pending))].join(), await iteration);
    await cluster.stop();
    `);
  expect(outcome).toEqual(printed('SESSION_EXPIRED iteration ended'));
});

test('a handler that throws is reported by its event only, and everything else settles', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start({ application: 'echo' });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    await client.connect();
    let reported = 0;
    const both = new Promise((resolve) => client.on('handlerError', () => ++reported === 2 && resolve()));
    let count = 0;
    client.onServerRequest(() => {
      if (count++ === 0) throw new Error('at once');
      return Promise.reject(new Error('later'));
    });
    await cluster.pushServerRequest(client.sessionId, Buffer.from('x'));
    await cluster.pushServerRequest(client.sessionId, Buffer.from('x'));
    console.log(await failure(client.submitCommand(Buffer.from('x'))));
    await both;
    await client.disconnect();
    await cluster.stop();
    `);
  expect(outcome).toEqual(printed('answered'));
});

test('a handler that throws ends nothing if there is no listener for handlerError', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start();
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    const seen = new Promise((resolve) => {
      client.onServerRequest(({ requestId }) => {
        if (requestId === 2n) resolve();
        throw new Error('of the handler');
      });
    });
    await client.connect();
    await cluster.pushServerRequest(client.sessionId, Buffer.from('x'));
    await cluster.pushServerRequest(client.sessionId, Buffer.from('x'));
    await seen;
    await client.disconnect();
    await cluster.stop();
    `);
  expect(outcome).toEqual(printed());
});

test('a listener that throws reaches the process and stops no other completion', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start({ application: 'echo' });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    client.on('connected', () => { throw new Error('of connected'); });
    client.on('messageReceived', ({ message }) => {
      if (message.type === 'ClientResponse' && message.requestId === 5n) throw new Error('of messageReceived');
    });
    const connecting = client.connect();
    const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => client.submitCommand(Buffer.from(String(index)))));
    await connecting;
    console.log(answers.join());
    await client.disconnect();
    await cluster.stop();
    `);
  const lines = outcome.stdout.trim().split('\n');
  expect(lines.sort()).toEqual(['0,1,2,3,4,5,6,7,8,9', 'uncaught of connected', 'uncaught of messageReceived']);
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
});

test('an exception in one continuation does not affect the others', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start({ application: 'echo' });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    await client.connect();
    const answers = [];
    for (let index = 0; index < 10; index++) {
      const answer = client.submitCommand(Buffer.from(String(index)));
      if (index === 3) answer.then(() => { throw new Error('of a continuation'); });
      if (index === 4) answer.then(() => process.nextTick(() => { throw new Error('of a tick'); }));
      answers.push(answer);
    }
    console.log((await Promise.all(answers)).join());
    await client.disconnect();
    await cluster.stop();
    `);
  const lines = outcome.stdout.trim().split('\n');
  expect(lines.sort()).toEqual(['0,1,2,3,4,5,6,7,8,9', 'uncaught of a tick', 'unhandled of a continuation']);
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
});

test('a listener or a handler may call the client', async () => {
  const outcome = await runProgram(`
    ${WATCH}
    const cluster = await TestCluster.start({ application: 'echo' });
    const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities });
    const answers = [];
    client.on('connected', () => { client.stats(); answers.push(client.submitCommand(Buffer.alloc(100_000, 1))); });
    client.on('messageReceived', ({ message }) => {
      client.stats();
      if (message.type === 'ClientResponse' && answers.length < 5) answers.push(client.submitQuery(Buffer.from('x')), client.submitCommand(Buffer.from('y')));
    });
    await client.connect();
    while (answers.length < 5) await new Promise(setImmediate);
    console.log((await Promise.all(answers)).map(({ length }) => length).join());
    client.on('disconnected', () => client.disconnect());
    await client.disconnect();
    await cluster.stop();
    `);
  expect(outcome).toEqual(printed('100000,1,1,1,1'));
});
