/** Fixtures of most tests: a cluster and clients that are closed when the test ends. */

import { once } from 'node:events';

import { onTestFinished } from 'vitest';
import { type ClientConfig, type ClientEventMap, RaftClient } from 'zraft-client';
import { TestCluster, type TestClusterOptions } from 'zraft-client/testing';

/** Milliseconds after which a wait has hung: far more than any wait takes on a slow machine. */
export const HANG = 15_000;

/** Starts a cluster that is stopped when the test ends. */
export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const cluster = await TestCluster.start(options);
  onTestFinished(() => cluster.stop());
  return cluster;
}

/** Makes a client that is closed when the test ends. Opens nothing. */
export function newClient(cluster: Pick<ClientConfig, 'clusterMembers'>, settings: Partial<ClientConfig> = {}): RaftClient {
  const client = new RaftClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'test' }, ...settings });
  onTestFinished(() => client.disconnect({ timeout: 0 }));
  return client;
}

/** Returns a client with an open session. */
export async function connectedClient(cluster: TestCluster, settings: Partial<ClientConfig> = {}): Promise<RaftClient> {
  const client = newClient(cluster, settings);
  await client.connect();
  return client;
}

/** Waits for the next event of this name. */
export async function next<E extends keyof ClientEventMap>(client: RaftClient, event: E): Promise<ClientEventMap[E]> {
  const [value] = (await once(client, event, { signal: AbortSignal.timeout(HANG) })) as [ClientEventMap[E]];
  return value;
}

/** Collects the events of this name from now on. */
export function collect<E extends keyof ClientEventMap>(client: RaftClient, event: E): ClientEventMap[E][] {
  const events: ClientEventMap[E][] = [];
  client.on(event, (value) => events.push(value));
  return events;
}

/** Returns the reason for which a promise is rejected. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const answer = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in answer) return answer.error;
  throw new Error(`should have been rejected, but resolved with ${String(answer.value)}`);
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + HANG;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`did not become true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Returns a promise and the function that resolves it. */
export function signal<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}

/** Returns the bytes of a text. */
export const bytes = (text: string): Buffer => Buffer.from(text);
