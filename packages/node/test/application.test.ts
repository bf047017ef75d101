/** Applications in JavaScript on the embedded cluster. */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

import { expect, onTestFinished, test } from 'vitest';
import { QuarantinedError, type SessionId, SessionRejectedError, ValidationError } from 'zraft-client';
import { type Application, ApplicationError, RejectedPayload, TestCluster, type TestClusterOptions } from 'zraft-client/testing';

import { bytes, collect, connectedClient, failureOf, newClient, next, startCluster, until } from './support/fixtures';

const echo = (payload: Buffer): Buffer => payload;

/** An application that keeps all commands, and answers each with its position and a query with the last command. */
function list(): Application & { readonly commands: string[] } {
  const commands: string[] = [];
  return {
    commands,
    apply: (command) => bytes(`${commands.push(command.toString()) - 1}`),
    query: () => bytes(commands.at(-1) ?? 'none'),
  };
}

/** Starts a cluster whose application is going to fail, and checks that it did when the test ends. */
async function startFailing(application: Partial<Application>, options: TestClusterOptions = {}): Promise<TestCluster> {
  const cluster = await TestCluster.start({ ...options, application: { apply: echo, query: echo, ...application } });
  onTestFinished(async () => {
    expect(await failureOf(cluster.stop())).toBe(cluster.failure);
    expect(cluster.failure).toBeInstanceOf(ApplicationError);
  });
  return cluster;
}

test('its functions run in the order of the log, and their answers reach the client', async () => {
  const application = list();
  const client = await connectedClient(await startCluster({ application }));
  const answers = await Promise.all(Array.from({ length: 500 }, (_, index) => client.submitCommand(bytes(`command ${index}`))));
  expect(answers.map(Number)).toEqual(Array.from({ length: 500 }, (_, index) => index));
  expect(application.commands).toEqual(Array.from({ length: 500 }, (_, index) => `command ${index}`));
  expect((await client.submitQuery(bytes('last'))).toString()).toBe('command 499');
});

test('each command runs once when leaders die, and the next leader has the state', async () => {
  const application = list();
  const cluster = await startCluster({ application, members: 3, electionPause: 10 });
  const client = await connectedClient(cluster);
  for (const loss of ['unreceived', 'uncommitted', 'unanswered', 'mixed'] as const) {
    const submitted = Array.from({ length: 50 }, (_, index) => client.submitCommand(bytes(`${loss} ${index}`)));
    const leader = await cluster.leaderElected();
    await cluster.kill(leader, loss);
    await Promise.all(submitted);
    await cluster.restart(leader);
  }
  expect(new Set(application.commands).size).toBe(200);
  expect(application.commands.length).toBe(200);
  expect(await cluster.executed()).toBe(200);
});

test('it learns of sessions and their capabilities, can refuse them, and pushes server requests', async () => {
  const told: string[] = [];
  const sessions = new Set<SessionId>();
  const application: Application = {
    apply: (command, context) => {
      for (const session of sessions) context.pushServerRequest(session, Buffer.concat([bytes('to '), command]));
      return bytes(`${context.requestId}`);
    },
    query: echo,
    sessionCreated: (capabilities, { sessionId, pushServerRequest }) => {
      if (capabilities.get('role') === 'stranger') throw new RejectedPayload('no strangers');
      told.push(`created ${capabilities.get('role')}`);
      sessions.add(sessionId);
      pushServerRequest(sessionId, bytes('welcome'));
    },
    // The session that has ended stays in the set, so that requests are pushed to it.
    sessionEnded: ({ sessionId }) => void told.push(`ended ${sessions.has(sessionId)}`),
  };
  const cluster = await startCluster({ application });
  const one = newClient(cluster, { capabilities: { role: 'one' } });
  const received: string[] = [];
  one.onServerRequest(({ payload }) => void received.push(payload.toString()));
  await one.connect();
  const two = await connectedClient(cluster, { capabilities: { role: 'two' } });
  await two.disconnect();
  expect((await one.submitCommand(bytes('all'))).toString()).toBe('1');
  await until(() => received.length === 2);
  expect(received).toEqual(['welcome', 'to all']);
  expect(told).toEqual(['created one', 'created two', 'ended true']);
  const refused = await failureOf(newClient(cluster, { capabilities: { role: 'stranger' } }).connect());
  expect(refused).toBeInstanceOf(SessionRejectedError);
  expect(cluster.failure).toBeUndefined();
});

test('it learns why sessions end, and ends sessions itself', async () => {
  const ends: string[] = [];
  const application: Application = {
    apply: (command, { sessionId, endSession }) => {
      endSession(command.length === 0 ? sessionId : (command.toString() as SessionId));
      return command;
    },
    query: echo,
    // A session that has ended already is left alone.
    sessionEnded: ({ sessionId, end, endSession }) => {
      ends.push(end);
      endSession(sessionId);
    },
  };
  const cluster = await startCluster({ application });
  const closed = await connectedClient(cluster);
  await closed.disconnect();
  const one = await connectedClient(cluster);
  await cluster.expireSession(one.sessionId as SessionId);
  const two = await connectedClient(cluster);
  const three = await connectedClient(cluster);
  const expired = next(three, 'sessionExpired');
  await two.submitCommand(bytes(three.sessionId as string));
  await expired;
  expect((await two.submitCommand(bytes('unknown'))).toString()).toBe('unknown');
  await until(() => ends.length === 3);
  expect(ends).toEqual(['closed', 'expired', 'application']);
  expect(await cluster.sessions()).toHaveLength(1);
});

test('its ticks run at the times that it names, before the entries at or after them', async () => {
  const told: string[] = [];
  const due: number[] = [];
  const application: Application = {
    apply: (command, { time }) => {
      due.push(time + Number(command));
      told.push(`command ${command.toString()}`);
      return command;
    },
    query: () => bytes(told.join()),
    nextTick: () => (due.length === 0 ? undefined : Math.min(...due)),
    tick: ({ time, random }) => {
      for (const each of due.splice(0, due.length)) {
        if (each > time) due.push(each);
        else told.push(random() < 1 ? 'tick' : '');
      }
    },
  };
  const cluster = await startCluster({ application });
  const client = await connectedClient(cluster);
  await client.submitCommand(bytes('0.5'));
  await until(() => told.length === 2);
  // The tick of the first one is due before the second.
  await client.submitCommand(bytes('100000000'));
  expect(told).toEqual(['command 0.5', 'tick', 'command 100000000']);
  await client.submitCommand(bytes('20'));
  await until(() => told.length === 5);
  expect(told.at(-1)).toBe('tick');
  expect(due).toHaveLength(1);
});

test("the application with ticks in the package's README does what the README says", async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, program = ''] = /```js\n(let left[^]*?)```/.exec(readme) ?? [];
  const source = `data:text/javascript,${encodeURIComponent(`${program} export { application };`)}`;
  const { application } = (await import(source)) as { application: Application };
  const client = await connectedClient(await startCluster({ application }));
  expect((await client.submitCommand(bytes('seat'))).toString()).toBe('held');
  expect((await client.submitQuery(bytes('holds'))).toString()).toBe('seat');
  await until(async () => (await client.submitQuery(bytes('holds'))).length === 0);
});

test('its ticks push server requests and end sessions, and begin before any client comes', async () => {
  let session: SessionId | undefined;
  let ticks = 0;
  let at = 0;
  const application: Application = {
    apply: echo,
    query: echo,
    sessionCreated: (_, { sessionId, time }) => {
      session = sessionId;
      at = time + 1;
    },
    sessionEnded: () => (session = undefined),
    nextTick: () => (ticks === 0 || session !== undefined ? at : undefined),
    tick: ({ time, pushServerRequest, endSession }) => {
      ticks += 1;
      at = time + 1;
      if (session === undefined) return;
      if (ticks < 5) pushServerRequest(session, bytes(`tick ${ticks}`));
      else endSession(session);
    },
  };
  const cluster = await startCluster({ application });
  await until(() => ticks === 1);
  const client = newClient(cluster);
  const received: string[] = [];
  client.onServerRequest(({ payload }) => void received.push(payload.toString()));
  const expired = next(client, 'sessionExpired');
  await client.connect();
  await expired;
  expect(received).toEqual(['tick 2', 'tick 3', 'tick 4']);
  expect(cluster.failure).toBeUndefined();
});

test('its time never falls, and its random numbers are the same in every run', async () => {
  const run = async (): Promise<number[]> => {
    const times: number[] = [];
    const numbers: number[] = [];
    const application: Application = {
      apply: (command, context) => {
        times.push(context.time);
        numbers.push(context.random(), context.random());
        return command;
      },
      query: (query, context) => {
        times.push(context.time);
        return query;
      },
    };
    const before = Date.now();
    const client = await connectedClient(await startCluster({ application }));
    for (const command of ['a', 'b', 'c']) await client.submitCommand(bytes(command));
    await client.submitQuery(bytes('d'));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBeGreaterThanOrEqual(before - 1);
    expect(times[3]).toBeLessThanOrEqual(Date.now() + 1);
    return numbers;
  };
  const [one, two] = [await run(), await run()];
  expect(two).toEqual(one);
  expect(new Set(one).size).toBe(6);
  for (const number of one) expect(number >= 0 && number < 1).toBe(true);
});

test('an error that it throws fails the command, every method of the cluster, and stop()', async () => {
  let calls = 0;
  const thrown = new RangeError('a bug');
  const cluster = await startFailing({
    apply: () => {
      calls += 1;
      throw thrown;
    },
  });
  const waiting = failureOf(cluster.journalReached(5));
  const client = await connectedClient(cluster);
  const failed = await failureOf(client.submitCommand(bytes('x')));
  expect(failed).toBeInstanceOf(QuarantinedError);
  expect(await waiting).toBe(cluster.failure);
  expect(await failureOf(cluster.leader())).toBe(cluster.failure);
  expect(cluster.failure).toMatchObject({ cause: thrown, message: 'the application failed in apply() of command 1: RangeError: a bug' });
  expect(calls).toBe(1);
});

test('an error that it throws in a query or at the begin of a session is a failure as well', async () => {
  const fail = (): never => {
    throw new Error('a bug');
  };
  const queries = await startFailing({ query: fail });
  expect(await failureOf((await connectedClient(queries)).submitQuery(bytes('x')))).toBeInstanceOf(QuarantinedError);
  expect(queries.failure?.message).toBe('the application failed in query(): Error: a bug');
  const sessions = await startFailing({ sessionCreated: fail });
  expect(await failureOf(newClient(sessions).connect())).toBeInstanceOf(SessionRejectedError);
  expect(sessions.failure?.message).toBe('the application failed in sessionCreated(): Error: a bug');
});

test.each<[string, Partial<Application>, string]>([
  [
    'throws',
    {
      tick: () => {
        throw new Error('a bug');
      },
    },
    'the application failed in tick(): Error: a bug',
  ],
  ['asks for the time', { tick: () => void Date.now() }, 'Date.now() differs from run to run'],
  ['returns a promise', { tick: (async () => {}).bind(undefined) as never }, 'must not be a promise'],
  ['leaves something due', { tick: () => {} }, ' after tick() had run at '],
])('a tick that %s fails the application', async (_, application, message) => {
  let due: number | undefined;
  const apply: Application['apply'] = (command, { time }) => {
    due = time;
    return command;
  };
  const cluster = await startFailing({ apply, nextTick: () => due, ...application });
  await (await connectedClient(cluster)).submitCommand(bytes('x'));
  await until(() => cluster.failure !== undefined);
  expect(cluster.failure?.message).toContain(message);
});

test('a time of the next tick that is none fails the application', async () => {
  const application = { apply: echo, query: echo, tick: () => {} };
  const error = await failureOf(TestCluster.start({ application: { ...application, nextTick: () => NaN } }));
  expect(error).toBeInstanceOf(ApplicationError);
  expect((error as Error).message).toContain('nextTick() must return a finite number of milliseconds or undefined, and returned NaN');
  let next: unknown;
  const cluster = await startFailing({ nextTick: () => next as number, tick: () => {}, apply: (command) => ((next = 'soon'), command) });
  expect(await failureOf((await connectedClient(cluster)).submitCommand(bytes('x')))).toBeInstanceOf(QuarantinedError);
  expect(cluster.failure?.message).toContain("and returned 'soon'");
});

test.each<[string, Application['apply'], string]>([
  ['a promise', (() => Promise.reject(new Error('late'))) as never, 'must not be a promise'],
  ['nothing', (() => {}) as never, 'must be a Uint8Array or a Buffer, and is undefined'],
  ['a text', (() => 'text') as never, 'is of type string'],
  ['too many bytes', () => Buffer.alloc(16 * 1024 * 1024 + 1), 'must have at most 16777216 bytes, and has 16777217'],
  ['Math.random()', () => bytes(`${Math.random()}`), 'Math.random() differs from run to run'],
  ['Date.now()', () => bytes(`${Date.now()}`), 'Date.now() differs from run to run'],
  ['new Date()', () => bytes(new Date().toISOString()), 'new Date() differs from run to run'],
  ['performance.now()', () => bytes(`${performance.now()}`), 'performance.now() differs from run to run'],
  ['process.hrtime.bigint()', () => bytes(`${process.hrtime.bigint()}`), 'process.hrtime() differs from run to run'],
  ['crypto.randomUUID()', () => bytes(crypto.randomUUID()), 'crypto.randomUUID() differs from run to run'],
])('a command that is answered with %s fails the application', async (_, apply, message) => {
  const cluster = await startFailing({ apply });
  const settled = Promise.allSettled([(await connectedClient(cluster)).submitCommand(bytes('x'), { timeout: 100 })]);
  await until(() => cluster.failure !== undefined);
  expect(cluster.failure?.message).toContain(message);
  expect([Math.random() < 1, Date.now() > 0, new Date() instanceof Date, performance.now() > 0]).toEqual([true, true, true, true]);
  expect(crypto.randomUUID()).toHaveLength(36);
  await settled;
});

test('dates that do not come from the clock are allowed, and a query may use the clock', async () => {
  const application: Application = {
    apply: (_, { time }) =>
      bytes(`${new Date(time).getTime() === time && Date.UTC(2024, 0) === Date.parse('2024-01-01') && new Date(0) instanceof Date}`),
    query: () => bytes(`${Date.now() > 0 && Math.random() < 1}`),
  };
  const client = await connectedClient(await startCluster({ application }));
  expect((await client.submitCommand(bytes('x'))).toString()).toBe('true');
  expect((await client.submitQuery(bytes('x'))).toString()).toBe('true');
});

test('a payload that it refuses closes the connection and is counted, and the application goes on', async () => {
  const decode = (payload: Buffer): Buffer => {
    if (payload.toString() !== 'good') throw new RejectedPayload('not good');
    return payload;
  };
  const cluster = await startCluster({ application: { apply: decode, query: decode } });
  const client = await connectedClient(cluster);
  expect(await failureOf(client.submitCommand(bytes('bad')))).toBeInstanceOf(QuarantinedError);
  expect((await cluster.stats()).closedRejectedPayload).toBeGreaterThan(0);
  expect((await client.submitCommand(bytes('good'))).toString()).toBe('good');
  expect((await client.submitQuery(bytes('good'))).toString()).toBe('good');
});

test('the context works while the function runs, and not afterwards', async () => {
  let later: (() => number) | undefined;
  const client = await connectedClient(
    await startCluster({
      application: {
        apply: (command, { random }) => {
          later = random;
          return command;
        },
        query: echo,
      },
    }),
  );
  await client.submitCommand(bytes('x'));
  expect(() => later?.()).toThrow('context.random() was called after the function had returned');
});

test('a value that is not an application is refused at the start', async () => {
  const start = (application: unknown): Promise<unknown> => failureOf(TestCluster.start({ application } as never));
  for (const [application, message] of [
    [{}, 'application: apply must be a function'],
    [{ apply: echo }, 'application: query must be a function'],
    [{ apply: echo, query: echo, sessionEnded: 1 }, 'application: sessionEnded must be a function'],
    [{ apply: echo, query: echo, tick: () => {} }, 'application: nextTick and tick go together'],
    [
      { apply: async () => Promise.resolve(bytes('x')), query: echo },
      'application: apply must be a function that returns its answer at once',
    ],
    [{ apply: function* () {}, query: echo }, 'application: apply must be a function that returns its answer at once'],
    ['bank', 'application: must be one of kv, echo, appendLog, or an object with the functions apply and query'],
    [null, 'application: must be one of'],
  ] as const) {
    const error = await start(application);
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as Error).message).toContain(message);
  }
});

test('a cluster that cannot start gives its thread back', async () => {
  const error = await failureOf(TestCluster.start({ members: 2, basePort: 65_535, application: list() }));
  expect((error as Error).message).toContain('65535');
});

test('a cluster stops while it waits for a function of the application', async () => {
  let stopping: Promise<void> | undefined;
  const cluster = await TestCluster.start({
    application: {
      apply: (command) => {
        stopping ??= cluster.stop();
        return command;
      },
      query: echo,
    },
  });
  const client = newClient(cluster);
  await client.connect();
  const settled = Promise.allSettled([client.submitCommand(bytes('x'), { timeout: 100 })]);
  await until(() => stopping !== undefined);
  await stopping;
  await settled;
});

test('an event loop that is blocked delays the application and loses nothing', async () => {
  const application = list();
  const client = await connectedClient(await startCluster({ application }));
  const states = collect(client, 'disconnected');
  const submitted = Array.from({ length: 20 }, (_, index) => client.submitCommand(bytes(`${index}`)));
  await submitted[0];
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await Promise.all(submitted);
  expect([application.commands.length, states.length]).toEqual([20, 0]);
});

test('two clusters with applications work side by side, and clients work inside the functions of neither', async () => {
  const [one, two] = [list(), list()];
  const clusters = await Promise.all([startCluster({ application: one }), startCluster({ application: two })]);
  const clients = await Promise.all(clusters.map((cluster) => connectedClient(cluster)));
  await Promise.all(clients.flatMap((client, which) => Array.from({ length: 100 }, () => client.submitCommand(bytes(`${which}`)))));
  expect([new Set(one.commands), new Set(two.commands)]).toEqual([new Set(['0']), new Set(['1'])]);
});

const program = new URL('./programs/applicationExit.mjs', import.meta.url);

test('a process can exit inside a function of the application', () => {
  const child = spawnSync(process.execPath, [fileURLToPath(program)], { encoding: 'utf8', timeout: 60_000 });
  expect(child).toMatchObject({ status: 7, signal: null, stdout: '', stderr: '' });
});

test('a worker can be terminated inside a function of the application', async () => {
  const worker = new Worker(program);
  await once(worker, 'message');
  expect(await worker.terminate()).toBe(1);
});
