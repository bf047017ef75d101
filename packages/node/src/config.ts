/** The settings of a client. The native half's table says which there are and what values they take. */

import { types } from 'node:util';

import { type Failure, ValidationError } from './errors';
import type { MemberId } from './ids';
import { type LivenessQuery, toLivenessQuery } from './livenessQuery';
import { idOf, type MemberResolver, partsOf, toSources } from './lookup';
import { facts, native, type Setting } from './native';
import { type TlsSettings, toTls } from './tls';

/** The pauses between rounds of connection attempts, in milliseconds. Half of each is random. */
export interface ReconnectBackoff {
  /** The pause after the first round in which no member answered; it doubles. Default 100, from 1 ms to 1 h. */
  readonly initial?: number | undefined;
  /** The longest such pause. Default 5000, from 1 ms to 1 h. */
  readonly max?: number | undefined;
  /** The pause after the first round in which members answered but none led; it grows by 1.6. Default 50, from 1 ms to 1 h. */
  readonly electionInitial?: number | undefined;
  /** The longest such pause during the first 10 s of an election; later it may grow to `max`. Default 250, from 1 ms to 1 h. */
  readonly electionMax?: number | undefined;
}

/** The settings of a client. Times are in milliseconds. A test compares names, texts and limits with the native half's table. */
export interface ClientConfig {
  /**
   * The members of the cluster and their client ports, in the order in which they are asked: `tcp://host:port`, `tcp://[v6]:port`, the
   * same with `tls://`, or `ipc://path`. Required.
   */
  readonly clusterMembers: ReadonlyMap<MemberId, string> | ReadonlyMap<string, string> | Readonly<Record<string, string>>;
  /**
   * What the client tells the server about itself when it opens a session. Names have letters, digits, `_` and `-`; values are treated as
   * secrets. Required.
   */
  readonly capabilities: ReadonlyMap<string, string> | Readonly<Record<string, string>>;
  /** How long one attempt may take: resolve, connect, ZMTP handshake, session message, answer. Default 5000, from 1 ms to 1 h. */
  readonly connectionTimeout?: number | undefined;
  /** The time between two KeepAlives; at most a third of `sessionTimeout`. Default 30000, from 1 ms to 30 days. */
  readonly keepAliveInterval?: number | undefined;
  /**
   * How long the server keeps a session from which it hears nothing. It must equal the server's own setting, which the protocol does not
   * carry. Default 90000, from 1 ms to 30 days.
   */
  readonly sessionTimeout?: number | undefined;
  /** The time from submitting a request to its answer. Default 10000, from 1 ms to 30 days. `Infinity` waits for ever. */
  readonly requestTimeout?: number | undefined;
  /** The least wait before a request is resent. Default 3000, from 1 ms to 1 h. */
  readonly resendInterval?: number | undefined;
  /** How long a timed-out or cancelled command is tracked for its late answer. Default 90000, from 1 ms to 30 days. */
  readonly detachedTimeout?: number | undefined;
  /** How many commands, and separately how many queries, may be on the wire unanswered. Default 256, from 1 to 1048576. */
  readonly maxInFlight?: number | undefined;
  /** How many requests may wait to be sent. Default 100000, from 1 to 16777216. */
  readonly maxQueued?: number | undefined;
  /** How many payload bytes may be held in all: queued, in flight and detached. Default 256 MiB, from 1 to half the address space. */
  readonly maxQueuedBytes?: number | undefined;
  /** The longest payload in bytes, both ways. A frame may be 64 KiB longer. Default 16 MiB, from 1 to 1 GiB. */
  readonly maxMessageSize?: number | undefined;
  /** How many server requests may wait for the application. Default 1024, from 1 to 1048576. */
  readonly maxServerRequests?: number | undefined;
  /** When a server request may be acknowledged: once it is delivered, or once it is handled. Default 'delivered'. */
  readonly ackServerRequests?: 'delivered' | 'handled' | undefined;
  /**
   * The time between two ZMTP PINGs. With requests in flight, a member that is silent for this long, or for 300 ms if that is longer,
   * counts as frozen: others are asked beside it. Default 1000, from 1 ms to 1 h.
   */
  readonly heartbeatInterval?: number | undefined;
  /**
   * How long a connection may be silent before it counts as lost; not shorter than `heartbeatInterval`. Default 10000, from 1 ms to 1 h.
   */
  readonly heartbeatTimeout?: number | undefined;
  /** The pauses between rounds of connection attempts. Half of each is random. */
  readonly reconnectBackoff?: ReconnectBackoff | undefined;
  /** What follows when the session expires: the client is disconnected, or a new session is opened. Default 'terminate'. */
  readonly onSessionExpired?: 'terminate' | 'newSession' | undefined;
  /** The query that the client itself sends when nothing else shows that its member leads. Default: none. */
  readonly livenessQuery?: LivenessQuery | undefined;
  /**
   * Ask the server for the members, after each connect and every 5 minutes or so: one member in the configuration is then enough. Only for
   * `zraft server` and `TestCluster`: any other server hands the query to its application, and ZIO Raft's own can stop reading then. Default
   * false.
   */
  readonly discoverMembers?: boolean | undefined;
  /**
   * Follow hints at leaders that are not configured: returns the endpoint of a leader, or undefined. It is called at most once a second, and
   * has 10 s to answer; an error, or an endpoint that `clusterMembers` would not take, counts as none. The leader is asked at once.
   */
  readonly resolveMember?: MemberResolver | undefined;
  /**
   * A name in DNS, as `tcp://name:port` or `tls://name:port`, each of whose addresses is a member, beside those in `clusterMembers`, which may
   * be empty then. It is resolved when the client looks for a member, at most every 5 s. No hint names such members: they are asked in turn.
   */
  readonly membersFromDns?: string | undefined;
  /** How the client speaks TLS. Required if an endpoint begins with `tls://`. */
  readonly tls?: TlsSettings | undefined;
}

/** The names of the settings that are numbers. */
type NumberName = {
  [Name in keyof ClientConfig]-?: NonNullable<ClientConfig[Name]> extends number ? Name : never;
}[keyof ClientConfig];

const { isMap } = types;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The entries of a map or of a plain object; all must be strings. Values may be secrets, so no message shows one. */
function entries(setting: string, value: unknown): [string, string][] {
  const pairs = isMap(value) ? [...value] : isRecord(value) ? Object.entries(value) : undefined;
  if (pairs === undefined) throw new ValidationError(`${setting}: must be a Map or an object of strings`);
  for (const [name, content] of pairs) {
    if (typeof name !== 'string') throw new ValidationError(`${setting}: names must be strings`);
    if (typeof content !== 'string') throw new ValidationError(`${setting}: the value of ${JSON.stringify(name)} must be a string`);
  }
  return pairs as [string, string][];
}

function checkNumber(setting: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value)) throw new ValidationError(`${setting}: must be a number`);
  if (!Number.isFinite(value)) throw new ValidationError(`${setting}: must be finite`);
  return value;
}

/** Checks the type of a value and returns it as the native half reads it. Undefined: the setting is not given. */
function toValue(setting: Setting, value: unknown): unknown {
  const { name, kind } = setting;
  if (kind === 'entries') return entries(name, value);
  if (value === undefined) return undefined;
  switch (kind) {
    case 'time':
      return setting.unlimited && value === Infinity ? null : checkNumber(name, value);
    case 'number':
      if (!Number.isSafeInteger(checkNumber(name, value))) throw new ValidationError(`${name}: must be a whole number`);
      return value;
    case 'choice':
      if (!setting.choices.includes(value as string)) {
        throw new ValidationError(`${name}: must be ${setting.choices.map((choice) => `'${choice}'`).join(' or ')}`);
      }
      return value;
    case 'parts':
      if (!isRecord(value)) throw new ValidationError(`${name}: must be an object`);
      return toValues(value, `${name}.`);
  }
}

/** The settings of an object whose names begin like this in the table, as the native half reads them. */
function toValues(given: Readonly<Record<string, unknown>>, prefix: string): Record<string, unknown> {
  const known = facts.settings.filter(({ name }) => name.startsWith(prefix) && !name.slice(prefix.length).includes('.'));
  const names = new Set(known.map(({ name }) => name));
  for (const name of Object.keys(given)) {
    if (!names.has(prefix + name)) throw new ValidationError(`${prefix}${name}: there is no such setting`);
  }
  return Object.fromEntries(
    known.map((setting) => {
      const name = setting.name.slice(prefix.length);
      return [name, toValue(setting, given[name])];
    }),
  );
}

/** The settings as the native half reads them. */
function toSettings(config: ClientConfig): string {
  if (!isRecord(config)) throw new ValidationError('the configuration must be an object');
  // None is in the table of the native half: its settings have no bytes and no switches, and the core that owns it knows no TLS.
  const { tls, livenessQuery, discoverMembers, resolveMember, membersFromDns: name, ...others } = config;
  toSources(resolveMember, name);
  if (discoverMembers !== undefined && typeof discoverMembers !== 'boolean') {
    throw new ValidationError('discoverMembers: must be a boolean');
  }
  const values = toValues(others, '');
  const settings = { ...values, tls: toTls(tls), livenessQuery: toLivenessQuery(livenessQuery), discoverMembers };
  if (name === undefined) return JSON.stringify(settings);
  // Until it was resolved, the name itself is a member. The certificates of its addresses have the name.
  const { scheme, host } = partsOf(name) as { scheme: string; host: string };
  const clusterMembers = [...(values['clusterMembers'] as [string, string][]), [idOf(name), name]];
  const secured = settings.tls === undefined || scheme !== 'tls' ? settings.tls : { serverName: host, ...settings.tls };
  return JSON.stringify({ ...settings, clusterMembers, tls: secured });
}

/** @internal Settings that have been checked, for the native half. Throws ValidationError. */
export function checked(config: ClientConfig): string {
  const settings = toSettings(config);
  const failure = native.checkSettings(settings);
  if (failure !== null) throw new ValidationError((JSON.parse(failure) as Failure).message);
  return settings;
}

/** @internal The members of a new list, as pairs. Throws ValidationError if one is not a string; the native half checks the rest. */
export function memberEntries(members: ClientConfig['clusterMembers']): [string, string][] {
  return entries('clusterMembers', members);
}

const defaults = facts.defaults as Readonly<Record<NumberName, number>>;

/** The defaults of the numbers, and a check that needs no client. */
export const ClientConfig = {
  DEFAULT_CONNECTION_TIMEOUT: defaults.connectionTimeout,
  DEFAULT_KEEP_ALIVE_INTERVAL: defaults.keepAliveInterval,
  DEFAULT_SESSION_TIMEOUT: defaults.sessionTimeout,
  DEFAULT_REQUEST_TIMEOUT: defaults.requestTimeout,
  DEFAULT_RESEND_INTERVAL: defaults.resendInterval,
  DEFAULT_DETACHED_TIMEOUT: defaults.detachedTimeout,
  DEFAULT_MAX_IN_FLIGHT: defaults.maxInFlight,
  DEFAULT_MAX_QUEUED: defaults.maxQueued,
  DEFAULT_MAX_QUEUED_BYTES: defaults.maxQueuedBytes,
  DEFAULT_MAX_MESSAGE_SIZE: defaults.maxMessageSize,
  DEFAULT_MAX_SERVER_REQUESTS: defaults.maxServerRequests,
  DEFAULT_HEARTBEAT_INTERVAL: defaults.heartbeatInterval,
  DEFAULT_HEARTBEAT_TIMEOUT: defaults.heartbeatTimeout,

  /** Throws a ValidationError that names the setting at fault. */
  validate(config: ClientConfig): void {
    checked(config);
  },
} as const;
