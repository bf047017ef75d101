/** A client keeps its process alive exactly while it is open. */

import { expect, test } from 'vitest';
import { type SessionId } from 'zraft-client';

import { bytes, startCluster } from './support/fixtures';
import { printed, runProgram, startProgram } from './support/program';

/** Prints when nothing keeps the event loop alive. */
const WATCH = `process.on('beforeExit', () => console.log('nothing left'));`;

test('the process exits by itself after disconnect', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const outcome = await runProgram(
    `
    const client = new RaftClient({ clusterMembers, capabilities });
    await client.connect();
    console.log(String(await client.submitCommand(Buffer.from('answer'))));
    await client.disconnect();
    console.log(client.state);
    `,
    cluster,
  );
  expect(outcome).toEqual(printed('answer', 'Disconnected'));
});

test('the process exits by itself if a client was made and nothing was opened', async () => {
  const outcome = await runProgram(`
    const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    client.onServerRequest(() => {});
    client.on('connected', () => {});
    `);
  expect(outcome).toEqual(printed());
});

test('the process exits by itself after a failed connect', async () => {
  const outcome = await runProgram(`
    const client = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
    client.connect({ timeout: 50 }).catch((error) => console.log(error.code));
    `);
  expect(outcome).toEqual(printed('CONNECTION'));
});

test('the process exits by itself after expiry', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities });
    client.on('sessionExpired', () => console.log('expired'));
    client.connect().then(() => console.log('open'));
    `,
    cluster,
  );
  await program.printed('open');
  const [session] = await cluster.sessions();
  await cluster.expireSession(session?.sessionId as SessionId);
  expect(await program.ended()).toEqual(printed('open', 'expired', 'nothing left'));
});

test('the process stays alive while a client is open, even if nothing is pending', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities });
    client.onServerRequest(({ payload }) => {
      console.log(String(payload));
      client.disconnect();
    });
    client.connect().then(() => setImmediate(() => setImmediate(() => console.log('idle'))));
    `,
    cluster,
  );
  await program.printed('idle');
  const [session] = await cluster.sessions();
  await cluster.pushServerRequest(session?.sessionId as SessionId, bytes('still here'));
  expect(await program.ended()).toEqual(printed('idle', 'still here', 'nothing left'));
});

test('the process stays alive through a reconnect', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities, reconnectBackoff: { initial: 10, max: 20 } });
    client.on('disconnected', () => setImmediate(() => console.log('lost')));
    client.on('connected', ({ resumed }) => {
      console.log(resumed ? 'resumed' : 'open');
      if (resumed) client.removeAllListeners('disconnected').disconnect();
    });
    client.connect();
    `,
    cluster,
  );
  await program.printed('open');
  await cluster.kill('node-1');
  await program.printed('lost');
  await cluster.restart('node-1');
  expect(await program.ended()).toEqual(printed('open', 'lost', 'resumed', 'nothing left'));
});

test('the process stays alive while connecting', async () => {
  const cluster = await startCluster({ application: 'echo' });
  await cluster.kill('node-1');
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities, reconnectBackoff: { initial: 10, max: 20 } });
    client.once('connectionFailure', () => setImmediate(() => console.log('refused')));
    client.connect().then(() => client.disconnect());
    `,
    cluster,
  );
  await program.printed('refused');
  await cluster.restart('node-1');
  expect(await program.ended()).toEqual(printed('refused', 'nothing left'));
});

test('the process stays alive if connect is called as soon as the client has ended', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities });
    client.onServerRequest(() => {
      console.log('asked');
      client.disconnect();
    });
    client.once('disconnected', () => client.connect().then(() => setImmediate(() => setImmediate(() => console.log('idle')))));
    client.connect().then(() => client.disconnect());
    `,
    cluster,
  );
  await program.printed('idle');
  const sessions = await cluster.sessions();
  await cluster.pushServerRequest(sessions.at(-1)?.sessionId as SessionId, bytes('x'));
  expect(await program.ended()).toEqual(printed('idle', 'asked', 'nothing left'));
});

test('the process stays alive with every session of a client, not only with the first', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities });
    client.onServerRequest(() => {
      console.log('asked');
      client.disconnect();
    });
    await client.connect();
    await client.disconnect();
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    client.connect().then(() => setImmediate(() => setImmediate(() => console.log('idle'))));
    `,
    cluster,
  );
  await program.printed('idle');
  const sessions = await cluster.sessions();
  await cluster.pushServerRequest(sessions.at(-1)?.sessionId as SessionId, bytes('x'));
  expect(await program.ended()).toEqual(printed('idle', 'asked', 'nothing left'));
});

test('unref lets the process exit while the client is open, called before connect or after', async () => {
  const cluster = await startCluster({ application: 'echo' });
  for (const when of ['before', 'after']) {
    const outcome = await runProgram(
      `
      const client = new RaftClient({ clusterMembers, capabilities });
      if ('${when}' === 'before') {
        client.unref();
        const held = setInterval(() => {}, 1000);
        client.connect().then(() => clearInterval(held));
      } else {
        client.connect().then(() => client.unref());
      }
      process.on('beforeExit', () => console.log(client.state));
      `,
      cluster,
    );
    expect(outcome).toEqual(printed('Connected'));
  }
});

test('ref undoes unref', async () => {
  const cluster = await startCluster();
  const program = startProgram(
    `
    ${WATCH}
    const client = new RaftClient({ clusterMembers, capabilities });
    client.onServerRequest(() => {
      console.log('asked');
      client.disconnect();
    });
    client.connect().then(() => {
      client.unref().ref();
      setImmediate(() => console.log('idle'));
    });
    `,
    cluster,
  );
  await program.printed('idle');
  const [session] = await cluster.sessions();
  await cluster.pushServerRequest(session?.sessionId as SessionId, bytes('x'));
  expect(await program.ended()).toEqual(printed('idle', 'asked', 'nothing left'));
});

test('the process exits by itself after a cluster was started and stopped', async () => {
  const outcome = await runProgram(`
    const cluster = await TestCluster.start();
    await cluster.stop();
    console.log('stopped');
    `);
  expect(outcome).toEqual(printed('stopped'));
});
