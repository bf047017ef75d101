/** The settings of a client. What they may be is the native half's to say. */

import { types } from 'node:util';

import { type Failure, ValidationError } from './errors';
import type { MemberId } from './ids';
import { facts, native } from './native';

/** The pauses between rounds of connection attempts, in milliseconds. Half of each is random. */
export interface ReconnectBackoff {
  /** After the first round in which no member answered; it doubles. Default 100. */
  readonly initial?: number | undefined;
  /** The longest such pause. Default 5000. */
  readonly max?: number | undefined;
  /** After the first round in which members answered but none led; it grows by 1.6. Default 50. */
  readonly electionInitial?: number | undefined;
  /** The longest such pause during the first 10 s of an election. Default 250. */
  readonly electionMax?: number | undefined;
}

/** The settings of a client. Times are in milliseconds. */
export interface ClientConfig {
  /** The members of the cluster and their client ports: `tcp://host:port`, IPv6 in brackets, or `ipc://path`. */
  readonly clusterMembers: ReadonlyMap<MemberId, string> | ReadonlyMap<string, string> | Readonly<Record<string, string>>;
  /** What the client tells the server about itself. At least one; names of letters, digits, `_` and `-`. */
  readonly capabilities: ReadonlyMap<string, string> | Readonly<Record<string, string>>;
  /** The time for one attempt: resolve, connect, handshake, session answer. Default 5000. */
  readonly connectionTimeout?: number | undefined;
  /** The time between two KeepAlives, at most a third of `sessionTimeout`. Default 30000. */
  readonly keepAliveInterval?: number | undefined;
  /** The server's own session timeout, which the protocol does not tell. Default 90000. */
  readonly sessionTimeout?: number | undefined;
  /** The time from submitting a request to its answer; `Infinity` waits for ever. Default 10000. */
  readonly requestTimeout?: number | undefined;
  /** The least wait before a request is sent again. Default 3000. */
  readonly resendInterval?: number | undefined;
  /** How long a timed-out or cancelled command is still followed. Default 90000. */
  readonly detachedTimeout?: number | undefined;
  /** The most commands, and separately queries, on the wire unanswered. Default 256. */
  readonly maxInFlight?: number | undefined;
  /** The most requests waiting. Default 100000. */
  readonly maxQueued?: number | undefined;
  /** The most payload bytes held in all. Default 256 MiB. */
  readonly maxQueuedBytes?: number | undefined;
  /** The longest payload, both ways. Default 16 MiB. */
  readonly maxMessageSize?: number | undefined;
  /** The most server requests waiting for the application. Default 1024. */
  readonly maxServerRequests?: number | undefined;
  /** When a server request is acknowledged: when it was delivered, or when it was handled. Default 'delivered'. */
  readonly ackServerRequests?: 'delivered' | 'handled' | undefined;
  /** The time between two heartbeats of the transport. Default 1000. */
  readonly heartbeatInterval?: number | undefined;
  /** The connection is lost when nothing came for so long after a heartbeat. Default 10000. */
  readonly heartbeatTimeout?: number | undefined;
  /** The pauses between rounds of connection attempts. */
  readonly reconnectBackoff?: ReconnectBackoff | undefined;
  /** What follows the end of a session by expiry. Default 'terminate'. */
  readonly onSessionExpired?: 'terminate' | 'newSession' | undefined;
}

const NUMBERS = [
  'connectionTimeout',
  'keepAliveInterval',
  'sessionTimeout',
  'requestTimeout',
  'resendInterval',
  'detachedTimeout',
  'maxInFlight',
  'maxQueued',
  'maxQueuedBytes',
  'maxMessageSize',
  'maxServerRequests',
  'heartbeatInterval',
  'heartbeatTimeout',
] as const;
const COUNTS: ReadonlySet<string> = new Set(NUMBERS.filter((name) => name.startsWith('max')));
const BACKOFF = ['initial', 'max', 'electionInitial', 'electionMax'] as const;
const CHOICES = {
  ackServerRequests: ['delivered', 'handled'],
  onSessionExpired: ['terminate', 'newSession'],
} as const;
const KNOWN: ReadonlySet<string> = new Set(['clusterMembers', 'capabilities', 'reconnectBackoff', ...NUMBERS, ...Object.keys(CHOICES)]);

const { isMap } = types;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The entries of a map or of a plain object; all are strings. Values may be secrets: no message shows one. */
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
  if (value === Infinity) throw new ValidationError(`${setting}: must be finite`);
  return value;
}

/** The settings as the native half reads them. */
function toSettings(config: ClientConfig): string {
  if (!isRecord(config)) throw new ValidationError('the configuration must be an object');
  for (const name of Object.keys(config)) {
    if (!KNOWN.has(name)) throw new ValidationError(`${name}: there is no such setting`);
  }
  const settings: Record<string, unknown> = {
    clusterMembers: entries('clusterMembers', config.clusterMembers),
    capabilities: entries('capabilities', config.capabilities),
  };
  for (const name of NUMBERS) {
    const value: unknown = config[name];
    if (value === undefined) continue;
    if (name === 'requestTimeout' && value === Infinity) {
      settings[name] = null;
      continue;
    }
    settings[name] = checkNumber(name, value);
    if (COUNTS.has(name) && !Number.isSafeInteger(value)) throw new ValidationError(`${name}: must be a whole number`);
  }
  for (const [name, choices] of Object.entries(CHOICES)) {
    const value: unknown = config[name as keyof typeof CHOICES];
    if (value === undefined) continue;
    if (!(choices as readonly unknown[]).includes(value)) {
      throw new ValidationError(`${name}: must be ${choices.map((choice) => `'${choice}'`).join(' or ')}`);
    }
    settings[name] = value;
  }
  const backoff: unknown = config.reconnectBackoff;
  if (backoff !== undefined) {
    if (!isRecord(backoff)) throw new ValidationError('reconnectBackoff: must be an object');
    for (const [name, value] of Object.entries(backoff)) {
      if (!(BACKOFF as readonly string[]).includes(name)) throw new ValidationError(`reconnectBackoff.${name}: there is no such setting`);
      if (value !== undefined) checkNumber(`reconnectBackoff.${name}`, value);
    }
    settings['reconnectBackoff'] = backoff;
  }
  return JSON.stringify(settings);
}

/** @internal Settings that have been checked, for the native half. Throws ValidationError. */
export function checked(config: ClientConfig): string {
  const settings = toSettings(config);
  const failure = native.checkSettings(settings);
  if (failure !== null) throw new ValidationError((JSON.parse(failure) as Failure).message);
  return settings;
}

const { defaults } = facts;

/** The defaults, and a check without a client. */
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
