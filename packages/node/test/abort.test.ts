import { getEventListeners } from 'node:events';

import { expect, test } from 'vitest';

import { bytes, connectedClient, failureOf, newClient, next, startCluster } from './support/fixtures';

test('connect rejects when its signal aborts, and the attempt ends when no caller waits', async () => {
  const cluster = await startCluster();
  await cluster.dropMessages('CreateSession');
  const client = newClient(cluster);
  const controller = new AbortController();
  const connecting = failureOf(client.connect({ signal: controller.signal }));
  const queued = failureOf(client.submitCommand(bytes('queued')));
  controller.abort('reason');
  expect(await connecting).toMatchObject({ code: 'CANCELLED', cause: 'reason', maybeExecuted: false });
  expect(await queued).toMatchObject({ maybeExecuted: false });
  expect(client.state).toBe('Disconnected');
});

test('the attempt continues while another caller waits', async () => {
  const cluster = await startCluster();
  await cluster.dropMessages('CreateSession', 1);
  const client = newClient(cluster, { connectionTimeout: 100 });
  const controller = new AbortController();
  const given = failureOf(client.connect({ signal: controller.signal }));
  const kept = client.connect();
  controller.abort();
  expect(await given).toMatchObject({ code: 'CANCELLED' });
  await kept;
  expect(client.state).toBe('Connected');
});

test('an abort after connect has resolved changes nothing', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const controller = new AbortController();
  await client.connect({ signal: controller.signal });
  controller.abort();
  expect(await client.submitQuery(bytes('x'))).toEqual(bytes('x'));
});

test('a signal that has aborted already rejects the call, and nothing is opened or sent', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const signal = AbortSignal.abort('early');
  expect(await failureOf(client.connect({ signal }))).toMatchObject({ code: 'CANCELLED', cause: 'early' });
  expect(client.state).toBe('Disconnected');
  await client.connect();
  expect(await failureOf(client.submitCommand(bytes('x'), { signal }))).toMatchObject({ code: 'CANCELLED', maybeExecuted: false });
  expect(await failureOf(client.submitQuery(bytes('x'), { signal }))).toMatchObject({ code: 'CANCELLED', maybeExecuted: false });
  expect(client.stats().sent).toBe(0);
});

test('a request whose signal aborts before it is sent is not executed', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster, { maxInFlight: 1 });
  await cluster.dropMessages('ClientResponse', 1);
  const sent = next(client, 'messageSent');
  const first = failureOf(client.submitCommand(bytes('first'), { timeout: 200 }));
  await sent;
  const controller = new AbortController();
  const second = failureOf(client.submitCommand(bytes('second'), { signal: controller.signal }));
  controller.abort();
  expect(await second).toMatchObject({ code: 'CANCELLED', maybeExecuted: false, requestId: undefined });
  await first;
  expect((await cluster.journal()).map(({ payload }) => payload.toString())).toEqual(['first']);
});

test('a request in a reused slot is cancelled by its own signal and not by that of an earlier request', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  const [earlier, own] = [new AbortController(), new AbortController()];
  // Each request has the slot of the one before it.
  await client.submitQuery(bytes('first'));
  await client.submitQuery(bytes('second'), earlier);
  await cluster.dropMessages('QueryResponse', 1);
  const query = failureOf(client.submitQuery(bytes('third'), own));
  earlier.abort('earlier');
  await client.ping();
  own.abort('own');
  expect(await query).toMatchObject({ code: 'CANCELLED', cause: 'own' });
});

test("a request cancelled by AbortSignal.timeout has the signal's reason as its cause", async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  const failure = await failureOf(client.submitQuery(bytes('x'), { signal: AbortSignal.timeout(20) }));
  expect(failure).toMatchObject({ code: 'CANCELLED', cause: expect.objectContaining({ name: 'TimeoutError' }) });
});

test('requests that share a signal share one listener, and its abort cancels them all', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = await connectedClient(cluster);
  await cluster.dropMessages('answers');
  const controller = new AbortController();
  const requests = Array.from({ length: 50 }, () => failureOf(client.submitCommand(bytes('x'), controller)));
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  controller.abort();
  for (const failure of await Promise.all(requests)) expect(failure).toMatchObject({ code: 'CANCELLED' });
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
});

test('a signal has no listener once its requests are settled', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const { signal } = new AbortController();
  await client.connect({ signal });
  await Promise.all(Array.from({ length: 100 }, () => client.submitCommand(bytes('x'), { signal })));
  await cluster.dropMessages('answers');
  await failureOf(client.submitCommand(bytes('x'), { signal, timeout: 10 }));
  await failureOf(client.submitQuery(bytes('x'), { signal, timeout: 10 }));
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('a signal whose addEventListener throws fails its own call only, and nothing is opened or sent', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const hostile = Object.assign(new EventTarget(), {
    aborted: false,
    addEventListener: () => {
      throw new RangeError('hostile');
    },
  }) as unknown as AbortSignal;
  expect(() => client.connect({ signal: hostile })).toThrow('hostile');
  expect(client.state).toBe('Disconnected');
  await client.connect();
  expect(() => client.submitCommand(bytes('x'), { signal: hostile })).toThrow('hostile');
  expect(() => client.submitQuery(bytes('x'), { signal: hostile })).toThrow('hostile');
  expect(await client.submitCommand(bytes('y'))).toEqual(bytes('y'));
  expect(client.stats()).toMatchObject({ sent: 1, inFlight: 0, queued: 0 });
});

test('a signal that aborts inside addEventListener cancels its call before anything is opened or sent', async () => {
  const cluster = await startCluster({ application: 'echo' });
  const client = newClient(cluster);
  const hasty = (): AbortSignal =>
    Object.assign(new EventTarget(), {
      aborted: false,
      addEventListener(this: AbortSignal, _: string, hook: () => void) {
        hook.call(this);
      },
    }) as unknown as AbortSignal;
  expect(await failureOf(client.connect({ signal: hasty() }))).toMatchObject({ code: 'CANCELLED' });
  expect(client.state).toBe('Disconnected');
  await client.connect();
  expect(await failureOf(client.submitCommand(bytes('x'), { signal: hasty() }))).toMatchObject({ code: 'CANCELLED' });
  expect(client.stats()).toMatchObject({ sent: 0 });
});
