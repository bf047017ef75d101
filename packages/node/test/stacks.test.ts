import { expect, test } from 'vitest';

import { bytes, connectedClient, failureOf, newClient, startCluster } from './support/fixtures';

/** Returns the functions and files that a stack shows. */
const HERE = 'stacks.test.ts';

test('the stack of an awaited request shows the line that awaits it', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  async function submitterOfCommand(): Promise<void> {
    await client.submitCommand(bytes('x'), { timeout: 10 });
  }
  async function submitterOfQuery(): Promise<void> {
    await client.submitQuery(bytes('x'), { timeout: 10 });
  }
  const command = (await failureOf(submitterOfCommand())) as Error;
  expect(command.stack).toMatch(new RegExp(`^TimeoutError: .*\n +at (?:async )?submitterOfCommand .*${HERE}:`));
  const query = (await failureOf(submitterOfQuery())) as Error;
  expect(query.stack).toMatch(new RegExp(`^TimeoutError: .*\n +at (?:async )?submitterOfQuery .*${HERE}:`));
});

test('the stack of requests under Promise.all shows which, and the line that awaits them', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('ClientResponse');
  async function submitterOfAll(): Promise<void> {
    await Promise.all([client.submitQuery(bytes('x')), client.submitCommand(bytes('x'), { timeout: 10 })]);
  }
  const error = (await failureOf(submitterOfAll())) as Error;
  expect(error.stack).toMatch(
    new RegExp(`^TimeoutError: .*\n +at async Promise\\.all \\(index 1\\)\n +at (?:async )?submitterOfAll .*${HERE}:`),
  );
});

test('the stack of a request that fails without being sent shows the line that awaits it', async () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  async function submitterTooEarly(): Promise<void> {
    await client.submitCommand(bytes('x'));
  }
  expect(((await failureOf(submitterTooEarly())) as Error).stack).toMatch(new RegExp(`at (?:async )?submitterTooEarly .*${HERE}:`));
  async function submitterCancelled(): Promise<void> {
    await client.submitCommand(bytes('x'), { signal: AbortSignal.abort() });
  }
  expect(((await failureOf(submitterCancelled())) as Error).stack).toMatch(new RegExp(`at (?:async )?submitterCancelled .*${HERE}:`));
  function submitterOfNothing(): void {
    void client.submitCommand(bytes(''));
  }
  expect(submitterOfNothing).toThrow(
    expect.objectContaining({ stack: expect.stringMatching(new RegExp(`at submitterOfNothing .*${HERE}:`)) }),
  );
});

test('the stack of a failed connect shows the line that awaits it', async () => {
  const client = newClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' } });
  async function connecter(): Promise<void> {
    await client.connect({ timeout: 20 });
  }
  expect(((await failureOf(connecter())) as Error).stack).toMatch(new RegExp(`^ConnectionError: .*\n +at (?:async )?connecter .*${HERE}:`));
});

test('the stack shows where a promise is awaited, even if that is later than the call', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('ClientResponse');
  async function awaiter(): Promise<void> {
    const promise = client.submitCommand(bytes('x'), { timeout: 50 });
    await client.ping();
    await promise;
  }
  const error = (await failureOf(awaiter())) as Error;
  expect(error.stack).toMatch(new RegExp(`^TimeoutError: .*\n +at (?:async )?awaiter .*${HERE}:`));
});

test('the stack of a request that is aborted on the wire shows the line that awaits it', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('ClientResponse');
  const controller = new AbortController();
  async function submitter(): Promise<void> {
    await client.submitCommand(bytes('x'), { signal: controller.signal });
  }
  const failure = failureOf(submitter());
  await client.ping();
  controller.abort();
  expect(((await failure) as Error).stack).toMatch(new RegExp(`^CancelledError: .*\n +at (?:async )?submitter .*${HERE}:`));
});
