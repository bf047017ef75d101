/**
 * Members that a client looks up: leaders that are not configured, by a function of the application, and the addresses of a name in
 * DNS. What is found becomes a new list of members.
 */

import { lookup } from 'node:dns/promises';

import { ValidationError } from './errors';
import type { ClientEvent } from './events';
import type { MemberId } from './ids';

/** Returns the endpoint of a leader, or undefined if it does not know it. */
export type MemberResolver = (leaderId: MemberId) => string | undefined | Promise<string | undefined>;

/** @internal What a client looks up. */
export interface Sources {
  readonly resolveMember?: MemberResolver | undefined;
  /** The name, as an endpoint. */
  readonly membersFromDns?: string | undefined;
}

/** The least milliseconds between two lookups of one kind: an election has clients ask members several times a second. */
const LEADERS_APART = 1000;
const NAMES_APART = 5000;

/** A lookup that takes longer, in milliseconds, counts as one without a result. */
const LIMIT = 10_000;

/** The most members that are kept beside the list of the application. */
const MOST = 64;

type Found = readonly (readonly [id: string, endpoint: string])[];

/** @internal The parts of an endpoint, if it is one of a host. */
export function partsOf(endpoint: string): { scheme: string; host: string; port: string } | undefined {
  const [, scheme, bracketed, host, port] = /^(tcp|tls):\/\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(endpoint) ?? [];
  const name = bracketed ?? host;
  return scheme === undefined || name === undefined || port === undefined ? undefined : { scheme, host: name, port };
}

/** @internal The id of the member at an endpoint of a name: what follows the scheme. */
export const idOf = (endpoint: string): string => endpoint.replace(/^\w+:\/\//, '');

/** The result of a lookup, or undefined if it fails or takes too long. */
function within<T>(promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, LIMIT, undefined).unref();
    const done = (value?: T): void => {
      clearTimeout(timer);
      resolve(value);
    };
    promise.then(done, () => done());
  });
}

/** One kind of lookup: at most one is under way. */
class Lookup {
  #underWay = false;
  #next = 0;

  constructor(
    readonly apart: number,
    readonly found: (found: Found) => void,
  ) {}

  begin(find: () => Promise<Found>): void {
    const now = performance.now();
    if (this.#underWay || now < this.#next) return;
    this.#next = now + this.apart;
    this.#underWay = true;
    void within(find()).then((found) => {
      this.#underWay = false;
      if (found !== undefined && found.length > 0) this.found(found);
    });
  }
}

/** @internal The lookups of one client. */
export class Lookups {
  readonly #sources: Sources;
  readonly #present: () => ReadonlyMap<string, string>;
  readonly #update: (members: ReadonlyMap<string, string>) => void;
  readonly #leader = new Lookup(LEADERS_APART, (found) => this.#leaderFound(found));
  readonly #name = new Lookup(NAMES_APART, (found) => this.#addressesFound(found));
  /** The leaders that were found, the oldest first. */
  #leaders: string[] = [];
  /** The members that the addresses of the name are. */
  #addresses: string[];

  constructor(sources: Sources, present: () => ReadonlyMap<string, string>, update: (members: ReadonlyMap<string, string>) => void) {
    this.#sources = sources;
    this.#present = present;
    this.#update = update;
    this.#addresses = sources.membersFromDns === undefined ? [] : [idOf(sources.membersFromDns)];
  }

  /** Begins the lookups for which this event is the time. */
  event(event: ClientEvent): void {
    if (event.type === 'connectionFailure') {
      const { resolveMember } = this.#sources;
      const { leaderId } = event.error;
      if (leaderId !== undefined && resolveMember !== undefined) {
        this.#leader.begin(async () => {
          const endpoint = await resolveMember(leaderId);
          return typeof endpoint === 'string' ? [[leaderId, endpoint]] : [];
        });
      }
      this.#lookUpName();
    } else if (event.type === 'reconnecting' || (event.type === 'stateChange' && event.newState === 'ConnectingNewSession')) {
      this.#lookUpName();
    }
  }

  #lookUpName(): void {
    const { membersFromDns } = this.#sources;
    const name = membersFromDns === undefined ? undefined : partsOf(membersFromDns);
    if (name === undefined) return;
    this.#name.begin(async () => {
      const addresses = await lookup(name.host, { all: true });
      return addresses.slice(0, MOST).map(({ address, family }) => {
        const place = `${family === 6 ? `[${address}]` : address}:${name.port}`;
        return [place, `${name.scheme}://${place}`];
      });
    });
  }

  #leaderFound(found: Found): void {
    const ids = found.map(([id]) => id);
    const leaders = [...this.#leaders.filter((id) => !ids.includes(id)), ...ids];
    this.#leaders = leaders.slice(-MOST);
    this.#replace([...leaders.slice(0, -MOST), ...ids], found);
  }

  #addressesFound(found: Found): void {
    const before = this.#addresses;
    this.#addresses = found.map(([id]) => id);
    this.#replace([...before, ...this.#addresses], found);
  }

  #replace(gone: readonly string[], found: Found): void {
    const present = this.#present();
    const members = new Map([...[...present].filter(([id]) => !gone.includes(id)), ...found]);
    const same = members.size === present.size && [...members].every(([id, endpoint]) => present.get(id) === endpoint);
    if (same) return;
    try {
      this.#update(members);
    } catch (error) {
      // An endpoint that cannot be used counts as none.
      if (!(error instanceof ValidationError)) throw error;
    }
  }
}

/** @internal The settings of lookups. Throws a `ValidationError` for values of another type. */
export function toSources(resolveMember: unknown, membersFromDns: unknown): Sources {
  if (resolveMember !== undefined && typeof resolveMember !== 'function') throw new ValidationError('resolveMember: must be a function');
  if (membersFromDns !== undefined && (typeof membersFromDns !== 'string' || partsOf(membersFromDns) === undefined)) {
    throw new ValidationError('membersFromDns: must be tcp://name:port or tls://name:port');
  }
  return { resolveMember: resolveMember as MemberResolver | undefined, membersFromDns };
}
