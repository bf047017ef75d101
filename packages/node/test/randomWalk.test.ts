/**
 * Clients under random work, aborts, timeouts, cuts, kills, hand-overs, drops, expiries and disconnects: every promise
 * settles, and its outcome agrees with the journal.
 */

import { expect, test } from 'vitest';
import { type RaftClient, RaftClientError } from 'zraft-client';
import { type TestCluster } from 'zraft-client/testing';

import { bytes, HANG, newClient, startCluster } from './support/fixtures';

const STEPS = 400;
const MEMBERS = ['node-1', 'node-2', 'node-3'];

/** Returns numbers from 0 to 1 that depend on the seed only. */
function lots(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Outcome = 'answered' | 'notExecuted' | 'unknown';

class Walk {
  readonly outcomes = new Map<string, Outcome>();
  readonly #promises: Promise<unknown>[] = [];
  #count = 0;

  constructor(
    readonly cluster: TestCluster,
    readonly client: RaftClient,
    readonly draw: () => number,
  ) {}

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.draw() * list.length)] as T;
  }

  submit(): void {
    const payload = `command ${this.#count++}`;
    const controller = new AbortController();
    const timeout = this.pick([5, 50, 5000, Infinity]);
    const command = this.client.submitCommand(bytes(payload), { signal: controller.signal, timeout });
    if (this.draw() < 0.1) controller.abort();
    else if (this.draw() < 0.1) setTimeout(() => controller.abort(), this.draw() * 20);
    const outcome = command.then(
      (answer): Outcome => {
        expect(answer.toString()).toBe(payload);
        return 'answered';
      },
      (error: unknown): Outcome => {
        expect(error).toBeInstanceOf(RaftClientError);
        return (error as RaftClientError).maybeExecuted ? 'unknown' : 'notExecuted';
      },
    );
    this.#promises.push(outcome.then((outcome) => this.outcomes.set(payload, outcome)));
  }

  beside(promise: Promise<unknown>): void {
    this.#promises.push(promise.catch((error: unknown) => expect(error).toBeInstanceOf(RaftClientError)));
  }

  async step(): Promise<void> {
    const { client, cluster } = this;
    const lot = this.draw();
    if (lot < 0.35) for (let left = 1 + this.draw() * 20; left > 0; left--) this.submit();
    else if (lot < 0.42) this.beside(client.submitQuery(bytes('query'), { timeout: this.pick([5, 5000]) }));
    else if (lot < 0.44) this.beside(client.ping());
    else if (lot < 0.46) this.beside(client.ready());
    else if (lot < 0.48) await cluster.cutConnections();
    else if (lot < 0.49) await cluster.stepDown(this.pick(MEMBERS));
    else if (lot < 0.51)
      await cluster.dropMessages(this.pick(['ClientRequest', 'ClientResponse', 'allToClients']), Math.ceil(this.draw() * 5));
    else if (lot < 0.515) await this.#restart();
    else if (lot < 0.52 && client.sessionId !== undefined) await cluster.expireSession(client.sessionId).catch(() => {});
    else if (lot < 0.525) this.beside(client.disconnect({ timeout: this.draw() * 50 }));
    else if (lot < 0.54) this.beside(client.connect({ timeout: 5000 }));
    else await new Promise((resolve) => setTimeout(resolve, this.draw() * 15));
    if (client.state === 'Disconnected') this.beside(client.connect({ timeout: 5000 }));
  }

  async #restart(): Promise<void> {
    const member = this.pick(MEMBERS);
    await this.cluster.kill(member, this.pick(['unreceived', 'uncommitted', 'unanswered', 'mixed']));
    await this.cluster.restart(member);
  }

  /** Ends the faults and checks that the client recovers. */
  async recover(): Promise<void> {
    await this.cluster.deliverAll();
    await this.cluster.leaderElected();
    for (;;) {
      try {
        await this.client.ready();
        await this.client.connect({ timeout: HANG });
        await this.client.submitQuery(bytes('recovered'), { timeout: HANG });
        return;
      } catch (error) {
        // A fault that began before may still end.
        expect((error as RaftClientError).code).toMatch(/^(CLOSED|SESSION_EXPIRED|NOT_CONNECTED|OVERLOADED)$/);
      }
    }
  }

  /** Returns the number of promises once all of them have settled. */
  async end(): Promise<number> {
    await this.client.disconnect({ timeout: 2000 });
    await Promise.all(this.#promises);
    return this.#promises.length;
  }
}

test.each([1, 2, 3, 4])(
  'every promise settles, and its outcome agrees with the journal (seed %i)',
  async (seed) => {
    const cluster = await startCluster({ application: 'echo', members: 3, electionPause: 20, seed });
    const client = newClient(cluster, {
      resendInterval: 30,
      connectionTimeout: 100,
      // After this time the client believes members that do not know its session.
      sessionTimeout: 300,
      keepAliveInterval: 100,
      maxInFlight: 32,
      maxQueued: 200,
      detachedTimeout: 500,
      onSessionExpired: seed % 2 === 0 ? 'newSession' : 'terminate',
      reconnectBackoff: { initial: 5, max: 50, electionInitial: 5, electionMax: 50 },
    });
    const walk = new Walk(cluster, client, lots(seed));
    for (let step = 1; step <= STEPS; step++) {
      await walk.step();
      if (step % 50 === 0) await walk.recover();
    }
    expect(await walk.end()).toBeGreaterThan(STEPS);

    const executed = new Map<string, number>();
    for (const { payload } of await cluster.journal()) executed.set(payload.toString(), (executed.get(payload.toString()) ?? 0) + 1);
    const counts = { answered: 0, notExecuted: 0, unknown: 0 };
    const lies: string[] = [];
    for (const [payload, outcome] of walk.outcomes) {
      counts[outcome] += 1;
      const times = executed.get(payload) ?? 0;
      const isTrue = outcome === 'answered' ? times === 1 : outcome === 'notExecuted' ? times === 0 : times <= 1;
      if (!isTrue) lies.push(`${payload}: ${outcome}, executed ${times} times`);
    }
    expect(lies).toEqual([]);
    expect(counts.answered).toBeGreaterThan(100);
    expect(client.stats()).toMatchObject({ inFlight: 0, queued: 0, detached: 0, queuedBytes: 0 });
  },
  60_000,
);
