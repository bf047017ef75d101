/** Clients whose payloads are values. */

import { expect, onTestFinished, test } from 'vitest';
import { type AnyCodec, type Codec, json, ProtocolError, QuarantinedError, TypedClient, ValidationError } from 'zraft-client';
import { storeCodec } from 'zraft-client/kv';
import { type Application, RejectedPayload, type TestCluster } from 'zraft-client/testing';

import { bytes, failureOf, signal, startCluster } from './support/fixtures';

type Command = { readonly add: number } | { readonly notify: string };
interface Query {
  readonly sumTimes: number;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function toCommand(value: unknown): Command {
  if (isObject(value) && (Number.isFinite(value['add']) || typeof value['notify'] === 'string')) return value as Command;
  throw new TypeError('not a command');
}

const codec = {
  command: json(toCommand),
  answer: json<number>(),
  query: json<Query>(),
  result: json<{ readonly result: number }>(),
  serverRequest: json<{ readonly text: string }>(),
} satisfies Codec<Command, number, Query, { readonly result: number }, { readonly text: string }>;

/** The application of the codec: it uses the same codecs in the other direction. */
function sum(): Application {
  let total = 0;
  const decode = <T>(decode: () => T): T => {
    try {
      return decode();
    } catch (error) {
      throw new RejectedPayload('not of this application', { cause: error });
    }
  };
  return {
    apply(payload, { sessionId, pushServerRequest }) {
      const command = decode(() => codec.command.decode(payload));
      if ('add' in command) total += command.add;
      else pushServerRequest(sessionId, codec.serverRequest.encode({ text: command.notify }));
      return codec.answer.encode(total);
    },
    query: (payload) => codec.result.encode({ result: total * decode(() => codec.query.decode(payload)).sumTimes }),
  };
}

async function typedClient<C extends AnyCodec>(cluster: TestCluster, of: C): Promise<TypedClient<C>> {
  const client = new TypedClient({ clusterMembers: cluster.clusterMembers, capabilities: { role: 'typed' } }, of);
  onTestFinished(() => client.disconnect({ timeout: 0 }));
  await client.connect();
  return client;
}

test('commands, queries and server requests are values', async () => {
  const client = await typedClient(await startCluster({ application: sum() }), codec);
  const { promise: received, resolve } = signal<string>();
  client.onServerRequest(({ payload }) => resolve(payload.text));
  expect(await client.submitCommand({ add: 40 })).toBe(40);
  const outcomes = await client.submitCommands([{ add: 1 }, { add: 1 }]).settled();
  expect(outcomes).toEqual([
    { status: 'fulfilled', value: 41 },
    { status: 'fulfilled', value: 42 },
  ]);
  expect(await client.submitQuery({ sumTimes: 2 })).toEqual({ result: 84 });
  await client.submitCommand({ notify: 'hello' });
  expect(await received).toBe('hello');
  expect(client.client.state).toBe('Connected');
});

test('server requests can be iterated over as values', async () => {
  const client = await typedClient(await startCluster({ application: sum() }), codec);
  await client.submitCommand({ notify: 'one' });
  for await (const { payload, requestId, acknowledge } of client.serverRequests) {
    acknowledge();
    expect([payload, requestId]).toEqual([{ text: 'one' }, 1n]);
    break;
  }
});

test('a value that the codec refuses throws at the call, and nothing is sent', async () => {
  const client = await typedClient(await startCluster({ application: sum() }), codec);
  expect(() => client.submitCommand({ subtract: 1 } as never)).toThrow(ValidationError);
  expect(() => client.submitCommand({ subtract: 1 } as never)).toThrow('the command cannot be encoded: not a command');
  expect(() => client.submitCommands([{ add: 1 }, { add: NaN }])).toThrow('command 1 cannot be encoded: not a command');
  expect(() => client.submitQuery(undefined as never)).toThrow(
    'the query cannot be encoded: JSON has no form for a value of type undefined',
  );
  const circle: { sumTimes: number; self?: unknown } = { sumTimes: 1 };
  circle.self = circle;
  expect(() => client.submitQuery(circle)).toThrow(/^the query cannot be encoded: .*circular/);
  expect(client.client.stats().sent).toBe(0);
});

test('bytes that the codec cannot decode are a ProtocolError, which says that a command was executed', async () => {
  const cluster = await startCluster({ application: { apply: () => bytes('{'), query: () => bytes('{') } });
  const client = await typedClient(cluster, codec);
  const command = (await failureOf(client.submitCommand({ add: 1 }))) as ProtocolError;
  expect(command).toBeInstanceOf(ProtocolError);
  expect(command).toMatchObject({ maybeExecuted: true, cause: expect.any(SyntaxError) });
  expect(command.message).toMatch(/^the answer to the command cannot be decoded: /);
  expect(await failureOf(client.submitQuery({ sumTimes: 1 }))).toMatchObject({ code: 'PROTOCOL', maybeExecuted: false });
  const [outcome] = await client.submitCommands([{ add: 1 }]).settled();
  expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'PROTOCOL', maybeExecuted: true } });

  const { promise: reported, resolve } = signal<unknown>();
  client.client.on('handlerError', ({ error }) => resolve(error));
  client.onServerRequest(() => resolve('the handler was called'));
  await cluster.pushServerRequest(client.client.sessionId ?? '', bytes('{'));
  expect(await reported).toBeInstanceOf(ProtocolError);
});

test('errors of the client pass through', async () => {
  const cluster = await startCluster({
    application: {
      apply: () => {
        throw new RejectedPayload();
      },
      query: (query) => query,
    },
  });
  const client = await typedClient(cluster, codec);
  expect(await failureOf(client.submitCommand({ add: 1 }))).toBeInstanceOf(QuarantinedError);
});

test('the key-value store has a codec', async () => {
  const client = await typedClient(await startCluster(), storeCodec);
  const { promise: received, resolve } = signal<unknown>();
  client.onServerRequest(({ payload }) => resolve(payload));
  await client.submitCommand({ watch: 'colour' });
  await client.submitCommand({ set: 'colour', value: 'green' });
  expect(await client.submitQuery({ get: 'colour' })).toBe('green');
  expect(await client.submitQuery({ get: 'light' })).toBeUndefined();
  expect(await received).toEqual({ key: 'colour', value: 'green' });
  expect(() => client.submitCommand({ set: '\ud800', value: '' })).toThrow(ValidationError);
});
