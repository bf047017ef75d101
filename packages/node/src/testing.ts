/**
 * An embedded cluster for tests: in process, on loopback, with switches for what can go wrong.
 *
 * @packageDocumentation
 */

import { inspect, type InspectOptions } from 'node:util';

import { ValidationError } from './errors';
import type { MemberId, RequestId, SessionId } from './ids';
import type { ClientMessage, ServerMessage } from './messages';
import { native, type NativeCluster } from './native';
import { Calls } from './requests';

/** Settings of a cluster. Times are in milliseconds. */
export interface TestClusterOptions {
  /** How many members, `node-1`, `node-2`, … Default 1. */
  readonly members?: number | undefined;
  /** What it runs: the key-value store, an echo of every payload, or a log of every command. Default 'kv'. */
  readonly application?: 'kv' | 'echo' | 'appendLog' | undefined;
  /** From a command's arrival to its commit. Default 1. */
  readonly commitDelay?: number | undefined;
  /** The most commits a second. Default: any number. */
  readonly commitsPerSecond?: number | undefined;
  /** A session expires so long after its last sign of life. Default 90000. */
  readonly sessionTimeout?: number | undefined;
  /** How often sessions are looked at. Default 1000. */
  readonly expiryTick?: number | undefined;
  /** How often unacknowledged server requests are looked at. Default 10000. */
  readonly redeliveryInterval?: number | undefined;
  /** How long an election takes. Default 100. */
  readonly electionPause?: number | undefined;
  /** What is drawn by lot is drawn from it. */
  readonly seed?: number | undefined;
  /** The first member's port; the others have those after it. Default: free ones. */
  readonly basePort?: number | undefined;
}

/** What a killed leader takes with it. */
export type KillLoss = 'unreceived' | 'uncommitted' | 'unanswered' | 'mixed';

/** Which messages are to vanish: a kind, or a group of kinds. */
export type MessageClass = ClientMessage['type'] | ServerMessage['type'] | 'answers' | 'allFromClients' | 'allToClients';

/** What rejections name as the leader. */
export type Hints = 'leader' | 'absent' | 'itself' | 'circular' | { readonly wrong: string };

/** One command that was executed. */
export interface Execution {
  readonly position: number;
  readonly sessionId: SessionId;
  readonly requestId: RequestId;
  readonly memberId: MemberId;
  readonly payload: Buffer;
}

/** One living session. */
export interface SessionView {
  readonly sessionId: SessionId;
  /** Whether a connection speaks for it at the leader. */
  readonly bound: boolean;
  /** The highest lowestPendingRequestId that was executed. */
  readonly lowestPending: RequestId;
  /** How many answers are kept for it. */
  readonly cachedAnswers: number;
  /** How many server requests wait for its acknowledgement. */
  readonly unacknowledged: number;
}

/** What a cluster has done since its start. */
export interface ClusterStats {
  /** Messages that members got, those that a switch dropped included. */
  readonly messagesReceived: number;
  /** Messages that members sent. */
  readonly messagesSent: number;
  /** Messages that dropMessages() took, both ways. */
  readonly droppedBySwitch: number;
  /** Answers that were ready while no connection spoke for their session. */
  readonly answersWithoutBinding: number;
  /** Entries of the log: commands with all their copies, sessions that began and ended, acknowledgements, redeliveries. */
  readonly logEntries: number;
  /** Commands executed. */
  readonly executed: number;
  /** Copies of commands that were answered from the cache. */
  readonly answeredFromCache: number;
  /** Commands refused since their answers were no longer kept. */
  readonly evicted: number;
  /** Queries answered. */
  readonly queries: number;
  /** Sessions that began. */
  readonly sessionsCreated: number;
  /** Sessions that went on with another connection. */
  readonly sessionsContinued: number;
  /** Sessions that expired. */
  readonly sessionsExpired: number;
  /** Sessions that their clients closed. */
  readonly sessionsClosed: number;
  /** Server requests made, without their redeliveries. */
  readonly serverRequests: number;
  /** Server requests sent again. */
  readonly redeliveries: number;
  /** Leaders elected after the first. */
  readonly elections: number;
  /** Connections refused because a member had too many. */
  readonly refusedPeers: number;
  /** Connections closed for a message that does not decode. */
  readonly closedUndecodable: number;
  /** Connections closed for a payload that the application could not decode. */
  readonly closedRejectedPayload: number;
  /** Connections closed because a limit would have been passed. */
  readonly closedLimit: number;
  /** The connections below all that. */
  readonly connections: ConnectionStats;
}

/** What happened to the connections of a cluster since its start. */
export interface ConnectionStats {
  /** Connections accepted, of whatever sort. */
  readonly accepted: number;
  /** Connections that finished the handshake. */
  readonly handshakes: number;
  /** Connections open now. */
  readonly open: number;
  /** Connections closed at once because too many were shaking hands. */
  readonly refused: number;
  /** Times that no connection could be accepted, for want of file descriptors for example. */
  readonly acceptErrors: number;
  /** Connections closed because the handshake took too long or was too large. */
  readonly closedHandshake: number;
  /** Connections closed because the peer broke ZMTP, or is not a CLIENT. */
  readonly closedProtocol: number;
  /** Connections closed because a frame was longer than allowed. */
  readonly closedOversized: number;
  /** Connections closed because nothing came for too long. */
  readonly closedIdle: number;
  /** Connections closed because the peer did not take what was queued for it. */
  readonly closedBacklog: number;
  /** Bytes read. */
  readonly bytesReceived: number;
  /** Bytes written. */
  readonly bytesSent: number;
}

const NUMBERS: ReadonlySet<string> = new Set([
  'members',
  'commitDelay',
  'commitsPerSecond',
  'sessionTimeout',
  'expiryTick',
  'redeliveryInterval',
  'electionPause',
  'seed',
  'basePort',
] satisfies (keyof TestClusterOptions)[]);
const APPLICATIONS: readonly unknown[] = ['kv', 'echo', 'appendLog'] satisfies TestClusterOptions['application'][];

function checked(options: TestClusterOptions): string {
  if (typeof options !== 'object' || options === null) throw new ValidationError('the options must be an object');
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined) continue;
    if (name === 'application') {
      if (!APPLICATIONS.includes(value)) throw new ValidationError(`application: must be one of ${APPLICATIONS.join(', ')}`);
    } else if (!NUMBERS.has(name)) {
      throw new ValidationError(`${name}: there is no such setting`);
    } else if (typeof value !== 'number' || !(value >= 0) || value === Infinity) {
      throw new ValidationError(`${name}: must be a number from 0 on`);
    }
  }
  return JSON.stringify(options);
}

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (message: string) => void;
}

const EMPTY = new Uint8Array(0);

function raise(message: string): never {
  throw new Error(message);
}

/** A running cluster. Every switch has taken effect when its promise resolves. It keeps the process alive until stop(). */
export class TestCluster {
  readonly #calls = new Calls<Call>();
  #native!: NativeCluster;
  #alive: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;
  #members: ReadonlyMap<MemberId, string> = new Map();

  private constructor() {}

  /** Starts a cluster; its ports are open when this resolves. */
  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const settings = checked(options);
    const cluster = new TestCluster();
    const started = cluster.#wait();
    cluster.#alive = setInterval(() => {}, 2 ** 31 - 1);
    try {
      cluster.#native = new native.NativeCluster(settings, (number, result) => cluster.#answer(number, result));
      await started.promise;
      cluster.#members = new Map((await cluster.#call('endpoints')) as [MemberId, string][]);
    } catch (error) {
      cluster.#release();
      throw error;
    }
    return cluster;
  }

  /** The members and where they listen: the client's setting of that name. */
  get clusterMembers(): ReadonlyMap<MemberId, string> {
    return this.#members;
  }

  /** Stops the cluster. Its ports are closed, and it has let go of its thread, when this resolves. */
  stop(): Promise<void> {
    this.#stopped ??= this.#call('stop', null).then(() => this.#release());
    return this.#stopped;
  }

  /** As stop(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** The member that leads, if one does. */
  async leader(): Promise<MemberId | undefined> {
    return ((await this.#call('leader')) ?? undefined) as MemberId | undefined;
  }

  /** Waits until a member leads and can commit. */
  leaderElected(): Promise<MemberId> {
    return this.#call('leaderElected') as Promise<MemberId>;
  }

  /** Figures since the start. They tell why a connection was closed: a payload that does not decode, or a limit. */
  stats(): Promise<ClusterStats> {
    return this.#call('stats') as Promise<ClusterStats>;
  }

  /** How many commands were executed. */
  executed(): Promise<number> {
    return this.#call('executed') as Promise<number>;
  }

  /** Waits until so many commands were executed since the start. */
  async journalReached(count: number): Promise<void> {
    await this.#call('journalReached', { count });
  }

  /** What was executed and is still held, in order. */
  async journal(): Promise<Execution[]> {
    const entries = (await this.#call('journal')) as [number, SessionId, string, MemberId, number[]][];
    return entries.map(([position, sessionId, requestId, memberId, payload]) => ({
      position,
      sessionId,
      requestId: BigInt(requestId) as RequestId,
      memberId,
      payload: Buffer.from(payload),
    }));
  }

  /** The living sessions, oldest first. */
  async sessions(): Promise<SessionView[]> {
    const views = (await this.#call('sessions')) as (Omit<SessionView, 'lowestPending'> & { lowestPending: string })[];
    return views.map((view) => ({ ...view, lowestPending: BigInt(view.lowestPending) as RequestId }));
  }

  /** Stops a member as a termination signal does: silent at once, its connections end later. */
  async stopMember(member: string): Promise<void> {
    await this.#call('stopMember', { member });
  }

  /** Kills a member; its connections have ended when this resolves. */
  async kill(member: string, loss: KillLoss = 'uncommitted'): Promise<void> {
    await this.#call('kill', { member, loss });
  }

  /** Starts a member that was stopped or killed. */
  async restart(member: string): Promise<void> {
    await this.#call('restart', { member });
  }

  /** The leader steps down; `next`, or whoever is next in order, leads after the election pause. */
  async stepDown(next?: string): Promise<void> {
    await this.#call('stepDown', { next });
  }

  /** Hands leadership to a member, and waits until it leads. */
  async moveLeadership(member: string): Promise<void> {
    await this.#call('moveLeadership', { member });
  }

  /** How long the next election takes, in milliseconds. */
  async setElectionPause(time: number): Promise<void> {
    await this.#call('setElectionPause', { time });
  }

  /** The member goes on as a leader that it no longer is. */
  async setStaleLeader(member: string, on = true): Promise<void> {
    await this.#call('setStaleLeader', { member, on });
  }

  /** The member stands still, as a stopped process does. */
  async setFrozen(member: string, on = true): Promise<void> {
    await this.#call('setFrozen', { member, on });
  }

  /** The member answers no message any more, though its transport lives. */
  async setDeaf(member: string, on = true): Promise<void> {
    await this.#call('setDeaf', { member, on });
  }

  /** The member answers from a session map of its own that knows these sessions only; undefined: the true one. */
  async setStaleSessionMap(member: string, known?: readonly string[]): Promise<void> {
    await this.#call('setStaleSessionMap', { member, known });
  }

  /** From a command's arrival to its commit, in milliseconds. */
  async setCommitDelay(time: number): Promise<void> {
    await this.#call('setCommitDelay', { time });
  }

  /** The most commits a second; undefined: any number. */
  async setCommitsPerSecond(rate?: number): Promise<void> {
    await this.#call('setCommitsPerSecond', { rate });
  }

  /** A session expires so long after its last sign of life, in milliseconds. */
  async setSessionTimeout(time: number): Promise<void> {
    await this.#call('setSessionTimeout', { time });
  }

  /** Resets every connection of a member, or of all; they have ended when this resolves. */
  async cutConnections(member?: string): Promise<void> {
    await this.#call('cutConnections', { member });
  }

  /** The next messages of a class vanish: the first so many, or all. */
  async dropMessages(messages: MessageClass, first?: number): Promise<void> {
    await this.#call('dropMessages', { messages, first });
  }

  /** No message vanishes any more. */
  async deliverAll(): Promise<void> {
    await this.#call('deliverAll');
  }

  /** Ends a session as its timeout would. */
  async expireSession(sessionId: string): Promise<void> {
    await this.#call('expireSession', { sessionId });
  }

  /** What the rejections of a member, or of all, name as the leader. */
  async setHints(hints: Hints, member?: string): Promise<void> {
    const named = typeof hints === 'string' ? { hints } : { hints: 'wrong', wrong: hints.wrong };
    await this.#call('setHints', { ...named, member });
  }

  /** Whether a command that arrives again is answered from the cache, as it must be. */
  async setDeduplication(on: boolean): Promise<void> {
    await this.#call('setDeduplication', { on });
  }

  /** Makes a server request of a session. */
  async pushServerRequest(sessionId: string, payload: Uint8Array): Promise<RequestId> {
    return BigInt((await this.#call('pushServerRequest', { sessionId }, payload)) as string) as RequestId;
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `TestCluster ${inspect(this.#members, options)}`;
  }

  #wait(): { number: number; promise: Promise<unknown> } {
    let number = 0;
    const promise = new Promise<unknown>((resolve, reject) => {
      number = this.#calls.add({ resolve, reject });
    });
    return { number, promise: promise.then(undefined, raise) };
  }

  #call(name: string, args: unknown = {}, payload: Uint8Array = EMPTY): Promise<unknown> {
    if (this.#stopped !== undefined) return Promise.reject(new Error('the cluster has stopped'));
    const { number, promise } = this.#wait();
    this.#native.call(number, name, JSON.stringify(args), payload);
    return promise;
  }

  #answer(number: number, text: string): void {
    const call = this.#calls.take(number);
    const result = JSON.parse(text) as { value?: unknown; error?: string };
    if (result.error === undefined) call?.resolve(result.value);
    else call?.reject(result.error);
  }

  #release(): void {
    clearInterval(this.#alive);
    this.#native?.release();
    for (const { reject } of this.#calls.drain()) reject('the cluster has stopped');
  }
}
