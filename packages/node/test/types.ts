/** Code that the compiler must accept or refuse. `npm run typecheck` compiles this file; nothing runs it. */

/* eslint-disable @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-argument -- what the compiler refuses has no type */

import { expectTypeOf } from 'vitest';
import {
  type ClientConfig,
  type ClientEvent,
  type ClientMessage,
  ClientMessageType,
  type Codec,
  type CommandOutcome,
  type ConnectedEvent,
  type CorrelationId,
  type IncomingServerRequest,
  json,
  MemberId,
  type MessageSentEvent,
  RaftClient,
  type RaftClientError,
  RequestId,
  type ServerMessage,
  SessionId,
  type SessionExpiredError,
  type Stats,
  TimeoutError,
  type TracedCall,
  type TypedClient,
} from 'zraft-client';
import { type Notification, readNotification, readValue, set, type storeCodec } from 'zraft-client/kv';
import { type Application, TestCluster } from 'zraft-client/testing';

declare const client: RaftClient;

export function methods(): void {
  expectTypeOf(client.connect()).resolves.toBeVoid();
  expectTypeOf(client.submitCommand(new Uint8Array(1))).resolves.toEqualTypeOf<Buffer>();
  expectTypeOf(client.submitQuery(Buffer.from('x'), { timeout: 1, signal: AbortSignal.timeout(1) })).resolves.toExtend<Uint8Array>();
  expectTypeOf(client.ping()).resolves.toBeNumber();
  expectTypeOf(client.ready()).resolves.toBeVoid();
  expectTypeOf(client.disconnect({ timeout: 5 })).resolves.toBeVoid();
  expectTypeOf(client.stats()).toEqualTypeOf<Stats>();
  expectTypeOf(client.state).toEqualTypeOf<'Disconnected' | 'ConnectingNewSession' | 'ConnectingExistingSession' | 'Connected'>();
  expectTypeOf(client.sessionId).toEqualTypeOf<SessionId | undefined>();
  expectTypeOf(client).toExtend<AsyncDisposable>();
  // @ts-expect-error: a payload is bytes
  void client.submitCommand('text');
  // @ts-expect-error: there is no such option
  void client.connect({ retries: 3 });
}

export function events(): void {
  client.on('connected', (event) => expectTypeOf(event).toEqualTypeOf<ConnectedEvent>());
  client.once('messageSent', (event) => expectTypeOf(event).toEqualTypeOf<MessageSentEvent>());
  client.off('sessionExpired', ({ sessionId }) => expectTypeOf(sessionId).toEqualTypeOf<SessionId>());
  // @ts-expect-error: there is no such event
  client.on('error', () => {});
  // @ts-expect-error: there is no such property
  client.on('connected', ({ session }) => session as string);
}

export function narrowing(event: ClientEvent, message: ClientMessage | ServerMessage, error: unknown): void {
  if (event.type === 'serverRequestReceived') expectTypeOf(event.request.requestId).toEqualTypeOf<RequestId>();
  if (message.type === 'Query') expectTypeOf(message.correlationId).toEqualTypeOf<CorrelationId>();
  if (message.type === 'CreateSession') expectTypeOf(message.capabilities).toEqualTypeOf<Map<string, string>>();
  if (error instanceof TimeoutError) {
    expectTypeOf(error.requestId).toEqualTypeOf<RequestId | undefined>();
    expectTypeOf(error.resolution()).resolves.toEqualTypeOf<Buffer>();
    expectTypeOf<typeof error.code>().toEqualTypeOf<'TIMEOUT'>();
  }
  expectTypeOf<SessionExpiredError>().toExtend<RaftClientError>();
}

export function brands(session: SessionId, member: MemberId): void {
  expectTypeOf(RequestId.next(RequestId.zero)).toEqualTypeOf<RequestId>();
  expectTypeOf(SessionId.unwrap(session)).toBeString();
  // @ts-expect-error: one id is not another
  SessionId.unwrap(member);
  // @ts-expect-error: a text is not an id
  MemberId.unwrap('node-1');
  // @ts-expect-error: a number is not an id
  RequestId.next(1n);
  const names: string[] = [session, member];
  void names;
}

export function configuration(): void {
  const plain: ClientConfig = { clusterMembers: { 'node-1': 'tcp://127.0.0.1:7001' }, capabilities: { role: 'test' } };
  const maps: ClientConfig = {
    clusterMembers: new Map([[MemberId.fromString('node-1'), 'tcp://127.0.0.1:7001']]),
    capabilities: new Map([['role', 'test']]),
    requestTimeout: undefined,
    reconnectBackoff: { initial: 1, max: undefined },
  };
  // @ts-expect-error: a setting has its type
  const wrong: ClientConfig = { ...plain, requestTimeout: '10' };
  // @ts-expect-error: members are needed
  const missing: ClientConfig = { capabilities: { role: 'test' } };
  void [maps, wrong, missing];
}

export function serverRequests(): void {
  expectTypeOf(client.onServerRequest(async () => {})).toEqualTypeOf<() => void>();
  client.onServerRequest((request) => expectTypeOf(request).toEqualTypeOf<IncomingServerRequest>());
  expectTypeOf(client.serverRequests).toEqualTypeOf<AsyncIterable<IncomingServerRequest>>();
}

export function others(): void {
  expectTypeOf(set('key', 'value')).toEqualTypeOf<Buffer>();
  expectTypeOf(readValue(new Uint8Array(1))).toEqualTypeOf<string | undefined>();
  expectTypeOf(readNotification(new Uint8Array(1))).toEqualTypeOf<Notification>();
  expectTypeOf(TestCluster.start({ members: 3 })).resolves.toEqualTypeOf<TestCluster>();
  expectTypeOf(ClientMessageType.CreateSession).toExtend<number>();
  // @ts-expect-error: only start() makes a cluster
  new TestCluster();
}

interface Deposit {
  readonly deposit: number;
}
declare const bank: TypedClient<Codec<Deposit, bigint, 'total', number, { readonly from: string }>>;

export function typedPayloads(store: TypedClient<typeof storeCodec>): void {
  expectTypeOf(bank.submitCommand({ deposit: 1 })).resolves.toEqualTypeOf<bigint>();
  expectTypeOf(bank.submitQuery('total', { timeout: 5 })).resolves.toEqualTypeOf<number>();
  expectTypeOf(bank.submitCommands([{ deposit: 1 }]).settled()).resolves.toEqualTypeOf<CommandOutcome<bigint>[]>();
  bank.onServerRequest(({ payload }) => expectTypeOf(payload).toEqualTypeOf<{ readonly from: string }>());
  expectTypeOf(bank.client.stats()).toEqualTypeOf<Stats>();
  expectTypeOf(bank).toExtend<AsyncDisposable>();
  // @ts-expect-error: bytes are not a command
  void bank.submitCommand(Buffer.from('x'));
  // @ts-expect-error: there is no such command
  void bank.submitCommand({ withdraw: 1 });
  // @ts-expect-error: there is no such query
  void bank.submitQuery('balance');
  // @ts-expect-error: a command is not a query
  void bank.submitQuery({ deposit: 1 });
  // @ts-expect-error: there is no such command
  void bank.submitCommands([{ withdraw: 1 }]);
  // @ts-expect-error: the client below cannot send bytes
  void bank.client.submitCommand(Buffer.from('x'));
  // @ts-expect-error: nor queries
  void bank.client.submitQuery(Buffer.from('x'));

  expectTypeOf(store.submitQuery({ get: 'key' })).resolves.toEqualTypeOf<string | undefined>();
  store.onServerRequest(({ payload }) => expectTypeOf(payload).toEqualTypeOf<Notification>());
  // @ts-expect-error: a value is a text
  void store.submitCommand({ set: 'key', value: 1 });

  const checked = json((value: unknown): Deposit => value as Deposit);
  expectTypeOf(checked.decode(Buffer.from('{}'))).toEqualTypeOf<Deposit>();
  // @ts-expect-error: the codec is one of deposits
  checked.encode('text');
}

export function bulk(): void {
  expectTypeOf(client.submitCommands([Buffer.from('x')], { timeout: 1 }).settled()).resolves.toEqualTypeOf<
    PromiseSettledResult<Buffer>[]
  >();
  // @ts-expect-error: one payload is not many
  client.submitCommands(Buffer.from('x'));
}

export function applications(apply: Application['apply']): void {
  void TestCluster.start({ application: { apply, query: (query, { time }) => query.subarray(time) } });
  // @ts-expect-error: an answer is bytes
  void TestCluster.start({ application: { apply, query: () => 'text' } });
  // @ts-expect-error: an answer is not a promise
  void TestCluster.start({ application: { apply: async (command) => Promise.resolve(command), query: (query) => query } });
  // @ts-expect-error: a query has no random numbers
  void TestCluster.start({ application: { apply, query: (query, { random }) => query.subarray(random()) } });
}

export function traces(call: TracedCall): void {
  expectTypeOf(call.operation).toEqualTypeOf<'command' | 'query' | 'connect'>();
  // @ts-expect-error: there is no payload
  void call.payload;
}
