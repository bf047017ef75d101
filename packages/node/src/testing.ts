/**
 * An embedded cluster for tests: in the test's process, on loopback, with switches for faults.
 *
 * @packageDocumentation
 */

import { inspect, type InspectOptions } from 'node:util';

import { type Application, ApplicationError, FAILED, isApplication, nextTick, run } from './application';
import { Calls } from './calls';
import { ValidationError } from './errors';
import type { MemberId, RequestId, SessionId } from './ids';
import type { ClientMessage, ServerMessage } from './messages';
import { native, type NativeCluster } from './native';

export {
  type Application,
  ApplicationError,
  type CommandContext,
  type QueryContext,
  RejectedPayload,
  type SessionContext,
  type SessionEnd,
  type SessionEndedContext,
  type TickContext,
} from './application';

/** The settings of an embedded cluster. Times are in milliseconds. */
export interface TestClusterOptions {
  /** The number of members, named `node-1`, `node-2`, … At most 64. Default 1. */
  readonly members?: number | undefined;
  /** The application: the key-value store, an echo of every payload, a log of every command, or your own. Default 'kv'. */
  readonly application?: 'kv' | 'echo' | 'appendLog' | Application | undefined;
  /** The time from a command's arrival to its commit. Default 1. */
  readonly commitDelay?: number | undefined;
  /** The most commits a second. Default: any number. */
  readonly commitsPerSecond?: number | undefined;
  /** The time after a session's last KeepAlive until the session expires. Default 90000. */
  readonly sessionTimeout?: number | undefined;
  /** The interval at which sessions are checked for expiry. Default 1000. */
  readonly expiryTick?: number | undefined;
  /** The interval at which unacknowledged server requests are sent again. Default 10000. */
  readonly redeliveryInterval?: number | undefined;
  /** The duration of an election. Default 100. */
  readonly electionPause?: number | undefined;
  /** The seed of all random choices of the cluster. */
  readonly seed?: number | undefined;
  /** The first member's port; the others have the ports after it. Default: free ports. */
  readonly basePort?: number | undefined;
}

/** Which commands a killed leader loses. */
export type KillLoss = 'unreceived' | 'uncommitted' | 'unanswered' | 'mixed';

/** Messages to drop: a kind, or a group of kinds. */
export type MessageClass = ClientMessage['type'] | ServerMessage['type'] | 'answers' | 'allFromClients' | 'allToClients';

/** The leader that rejections name. */
export type Hints = 'leader' | 'absent' | 'itself' | 'circular' | { readonly wrong: string };

/** A command that was executed. */
export interface Execution {
  readonly position: number;
  readonly sessionId: SessionId;
  readonly requestId: RequestId;
  readonly memberId: MemberId;
  readonly payload: Buffer;
}

/** A session that has not ended. */
export interface SessionView {
  readonly sessionId: SessionId;
  /** True if the leader has a connection that the session is bound to. */
  readonly bound: boolean;
  /** The highest `lowestPendingRequestId` of its executed commands. */
  readonly lowestPending: RequestId;
  /** The number of its cached answers. */
  readonly cachedAnswers: number;
  /** The number of its server requests that are not acknowledged. */
  readonly unacknowledged: number;
}

/** The counters of a cluster since its start. */
export interface ClusterStats {
  /** Messages that members received, including messages that a switch dropped. */
  readonly messagesReceived: number;
  /** Messages that members sent. */
  readonly messagesSent: number;
  /** Messages that `dropMessages()` dropped, in both directions. */
  readonly droppedBySwitch: number;
  /** Answers that were ready while their session was bound to no connection. */
  readonly answersWithoutBinding: number;
  /** Entries of the log: commands with all their copies, begins and ends of sessions, acknowledgements, redeliveries. */
  readonly logEntries: number;
  /** Commands executed. */
  readonly executed: number;
  /** Copies of commands that were answered from the cache. */
  readonly answeredFromCache: number;
  /** Commands refused because their cached answers had been dropped. */
  readonly evicted: number;
  /** Queries answered. */
  readonly queries: number;
  /** Sessions created. */
  readonly sessionsCreated: number;
  /** Sessions continued on another connection. */
  readonly sessionsContinued: number;
  /** Sessions that expired. */
  readonly sessionsExpired: number;
  /** Sessions that their clients closed. */
  readonly sessionsClosed: number;
  /** Server requests made, not counting redeliveries. */
  readonly serverRequests: number;
  /** Server requests sent more than once. */
  readonly redeliveries: number;
  /** Elections after the first. */
  readonly elections: number;
  /** Connections refused because the member had too many. */
  readonly refusedPeers: number;
  /** Connections closed because of a message that does not decode. */
  readonly closedUndecodable: number;
  /** Connections closed because of a payload that the application cannot decode. */
  readonly closedRejectedPayload: number;
  /** Connections closed because they reached a limit. */
  readonly closedLimit: number;
  /** The counters of the transport. */
  readonly connections: ConnectionStats;
}

/** The counters of a cluster's transport since its start. */
export interface ConnectionStats {
  /** Connections accepted. */
  readonly accepted: number;
  /** Connections that completed the ZMTP handshake. */
  readonly handshakes: number;
  /** Connections open now. */
  readonly open: number;
  /** Connections closed at once because too many handshakes were in progress. */
  readonly refused: number;
  /** Failed attempts to accept a connection, for example because no file descriptor was left. */
  readonly acceptErrors: number;
  /** Connections closed because the handshake took too long or was too large. */
  readonly closedHandshake: number;
  /** Connections closed because the peer violated ZMTP or is not a CLIENT. */
  readonly closedProtocol: number;
  /** Connections closed because a frame was longer than allowed. */
  readonly closedOversized: number;
  /** Connections closed because nothing arrived for too long. */
  readonly closedIdle: number;
  /** Connections closed because the peer did not read and its queue was full. */
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
      if (isApplication(value) || APPLICATIONS.includes(value)) continue;
      throw new ValidationError(`application: must be one of ${APPLICATIONS.join(', ')}, or an object with the functions apply and query`);
    } else if (!NUMBERS.has(name)) {
      throw new ValidationError(`${name}: there is no such setting`);
    } else if (typeof value !== 'number' || !(value >= 0) || value === Infinity) {
      throw new ValidationError(`${name}: must be a number of at least 0`);
    }
  }
  const { application } = options;
  if (typeof application !== 'object') return JSON.stringify(options);
  const hooks = application.sessionCreated !== undefined || application.sessionEnded !== undefined;
  return JSON.stringify({ ...options, application: 'javascript', hooks, nextTick: firstTick(application) });
}

function firstTick(application: Application): number | null {
  try {
    return nextTick(application);
  } catch (error) {
    throw new ApplicationError(`the application failed in nextTick(): ${String(error)}`, { cause: error });
  }
}

interface Call {
  readonly name: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (why: string | ApplicationError) => void;
}

const EMPTY = new Uint8Array(0);

/** The name of the call that stops a cluster, which goes on after a failure of the application. */
const STOP = 'stop';

function raise(why: string | ApplicationError): never {
  throw why instanceof ApplicationError ? why : new Error(why);
}

/** A running cluster. Each switch has taken effect when its promise resolves. A cluster keeps the process alive until `stop()`. */
export class TestCluster {
  readonly #calls = new Calls<Call>();
  #native!: NativeCluster;
  #alive: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;
  #members: ReadonlyMap<MemberId, string> = new Map();
  #failure: ApplicationError | undefined;

  private constructor() {}

  /** Starts a cluster. Its ports are open when this resolves. */
  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const settings = checked(options);
    const cluster = new TestCluster();
    const started = cluster.#wait('start');
    // If the constructor throws, no one awaits this promise, and its rejection must not count as unhandled.
    started.promise.catch(() => {});
    cluster.#alive = setInterval(() => {}, 2 ** 31 - 1);
    try {
      const answer = (number: number, result: string): void => cluster.#answer(number, result);
      const { application } = options;
      cluster.#native =
        typeof application === 'object'
          ? new native.NativeCluster(settings, answer, (description, payload) => cluster.#run(application, description, payload))
          : new native.NativeCluster(settings, answer);
      await started.promise;
      cluster.#members = new Map((await cluster.#call('endpoints')) as [MemberId, string][]);
    } catch (error) {
      cluster.#release();
      throw error;
    }
    return cluster;
  }

  /** The members and their endpoints, as the client's setting `clusterMembers` takes them. */
  get clusterMembers(): ReadonlyMap<MemberId, string> {
    return this.#members;
  }

  /** Why your application has failed; undefined if it has not, and for the other applications. */
  get failure(): ApplicationError | undefined {
    return this.#failure;
  }

  /**
   * Stops the cluster. When this resolves its ports are closed and it no longer uses the thread. If your application has failed,
   * it stops as well and then rejects with that error, so that a test which looks at nothing else fails.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#call(STOP, null).then(() => {
      this.#release();
      if (this.#failure !== undefined) throw this.#failure;
    });
    return this.#stopped;
  }

  /** As `stop()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Returns the leader, or undefined during an election. */
  async leader(): Promise<MemberId | undefined> {
    return ((await this.#call('leader')) ?? undefined) as MemberId | undefined;
  }

  /** Waits until a member leads and can commit. Returns that member. */
  leaderElected(): Promise<MemberId> {
    return this.#call('leaderElected') as Promise<MemberId>;
  }

  /** Returns the counters. They show why connections were closed, for example for a payload that the application cannot decode. */
  stats(): Promise<ClusterStats> {
    return this.#call('stats') as Promise<ClusterStats>;
  }

  /** Returns the number of commands executed since the start. */
  executed(): Promise<number> {
    return this.#call('executed') as Promise<number>;
  }

  /** Waits until this many commands have been executed since the start. */
  async journalReached(count: number): Promise<void> {
    await this.#call('journalReached', { count });
  }

  /** Returns the executed commands that the journal still has, in order. */
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

  /** Returns the sessions that have not ended, oldest first. */
  async sessions(): Promise<SessionView[]> {
    const views = (await this.#call('sessions')) as (Omit<SessionView, 'lowestPending'> & { lowestPending: string })[];
    return views.map((view) => ({ ...view, lowestPending: BigInt(view.lowestPending) as RequestId }));
  }

  /** Stops a member as a termination signal does: it is silent at once, and its connections end later. */
  async stopMember(member: string): Promise<void> {
    await this.#call('stopMember', { member });
  }

  /** Kills a member. Its connections have ended when this resolves. */
  async kill(member: string, loss: KillLoss = 'uncommitted'): Promise<void> {
    await this.#call('kill', { member, loss });
  }

  /** Starts a member again that was stopped or killed. */
  async restart(member: string): Promise<void> {
    await this.#call('restart', { member });
  }

  /** Makes the leader step down. `next`, or the next member in order, leads after the election pause. */
  async stepDown(next?: string): Promise<void> {
    await this.#call('stepDown', { next });
  }

  /** Hands leadership to a member and waits until it leads. */
  async moveLeadership(member: string): Promise<void> {
    await this.#call('moveLeadership', { member });
  }

  /** Sets the duration of the next elections, in milliseconds. */
  async setElectionPause(time: number): Promise<void> {
    await this.#call('setElectionPause', { time });
  }

  /** Makes a member that no longer leads behave as the leader. */
  async setStaleLeader(member: string, on = true): Promise<void> {
    await this.#call('setStaleLeader', { member, on });
  }

  /** Freezes a member: it does nothing, as a stopped process does. */
  async setFrozen(member: string, on = true): Promise<void> {
    await this.#call('setFrozen', { member, on });
  }

  /** Makes a member deaf: it answers PING and no message. */
  async setDeaf(member: string, on = true): Promise<void> {
    await this.#call('setDeaf', { member, on });
  }

  /** Makes a member know these sessions only; undefined restores its true session map. */
  async setStaleSessionMap(member: string, known?: readonly string[]): Promise<void> {
    await this.#call('setStaleSessionMap', { member, known });
  }

  /** Sets the time from a command's arrival to its commit, in milliseconds. */
  async setCommitDelay(time: number): Promise<void> {
    await this.#call('setCommitDelay', { time });
  }

  /** Sets the most commits a second; undefined removes the limit. */
  async setCommitsPerSecond(rate?: number): Promise<void> {
    await this.#call('setCommitsPerSecond', { rate });
  }

  /** Sets the time after a session's last KeepAlive until the session expires, in milliseconds. */
  async setSessionTimeout(time: number): Promise<void> {
    await this.#call('setSessionTimeout', { time });
  }

  /** Resets all connections of a member, or of all members. They have ended when this resolves. */
  async cutConnections(member?: string): Promise<void> {
    await this.#call('cutConnections', { member });
  }

  /** Drops the next `first` messages of a class, or all of them from now on. */
  async dropMessages(messages: MessageClass, first?: number): Promise<void> {
    await this.#call('dropMessages', { messages, first });
  }

  /** Ends every `dropMessages()`. */
  async deliverAll(): Promise<void> {
    await this.#call('deliverAll');
  }

  /** Expires a session as its timeout would. */
  async expireSession(sessionId: string): Promise<void> {
    await this.#call('expireSession', { sessionId });
  }

  /** Ends every session without a word to its client, as a cluster does that is restarted without its state. */
  async forgetSessions(): Promise<void> {
    await this.#call('forgetSessions');
  }

  /** Sets the leader that the rejections of a member, or of all members, name. */
  async setHints(hints: Hints, member?: string): Promise<void> {
    const named = typeof hints === 'string' ? { hints } : { hints: 'wrong', wrong: hints.wrong };
    await this.#call('setHints', { ...named, member });
  }

  /** Sets if a copy of a command is answered from the cache. Without deduplication the cluster executes each copy. */
  async setDeduplication(on: boolean): Promise<void> {
    await this.#call('setDeduplication', { on });
  }

  /** Makes a server request to a session. Returns its id. */
  async pushServerRequest(sessionId: string, payload: Uint8Array): Promise<RequestId> {
    return BigInt((await this.#call('pushServerRequest', { sessionId }, payload)) as string) as RequestId;
  }

  /** @internal The form for `inspect`. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `TestCluster ${inspect(this.#members, options)}`;
  }

  #wait(name: string): { number: number; promise: Promise<unknown> } {
    let number = 0;
    const promise = new Promise<unknown>((resolve, reject) => {
      number = this.#calls.add({ name, resolve, reject });
    });
    return { number, promise: promise.then(undefined, raise) };
  }

  #call(name: string, args: unknown = {}, payload: Uint8Array = EMPTY): Promise<unknown> {
    if (this.#stopped !== undefined) return Promise.reject(new Error('the cluster has stopped'));
    if (this.#failure !== undefined && name !== STOP) return Promise.reject(this.#failure);
    const { number, promise } = this.#wait(name);
    this.#native.call(number, name, JSON.stringify(args), payload);
    return promise;
  }

  #answer(number: number, text: string): void {
    const call = this.#calls.take(number);
    const result = JSON.parse(text) as { value?: unknown; error?: string };
    if (result.error === undefined) call?.resolve(result.value);
    else call?.reject(result.error);
  }

  /** Runs a call of the application, for which the cluster's thread waits. */
  #run(application: Application, description: string, payload: Buffer): void {
    try {
      this.#native.endCall(...run(application, description, payload));
    } catch (error) {
      this.#native.endCall(...FAILED);
      this.#fail(
        error instanceof ApplicationError ? error : new ApplicationError(`the application failed: ${String(error)}`, { cause: error }),
      );
    }
  }

  /** Ends what waits for a cluster that will execute nothing more. */
  #fail(failure: ApplicationError): void {
    this.#failure ??= failure;
    for (const { number, entry } of this.#calls.entries()) {
      if (entry.name === STOP) continue;
      this.#calls.take(number);
      entry.reject(failure);
    }
  }

  #release(): void {
    clearInterval(this.#alive);
    this.#native?.release();
    for (const { reject } of this.#calls.drain()) reject('the cluster has stopped');
  }
}
