/** The native half, and where it is found. It is thin: bytes in, bytes out. */

import { home, load } from './here';

/** @internal One client of the native half. */
export interface NativeClient {
  readonly state: string;
  readonly sessionId: string | null;
  readonly memberId: string | null;
  pusher(): (batch: Buffer, length: number) => number;
  taker(): (into: Buffer, offset: number) => number;
  stage(payload: Uint8Array): void;
  limits(): string;
  payloadFailure(length: number): string | null;
  abandon(): void;
  takeBeside(into: Buffer): void;
  release(): boolean;
  stats(): string;
}

/** @internal One embedded cluster of the native half. */
export interface NativeCluster {
  call(number: number, name: string, args: string, payload: Uint8Array): void;
  release(): void;
}

/** @internal The native half. */
export interface Native {
  NativeClient: new (settings: string, wake: () => void) => NativeClient;
  NativeCluster: new (options: string, answer: (number: number, result: string) => void) => NativeCluster;
  checkSettings(settings: string): string | null;
  sharers(): number;
  names(): string;
  storeSet(key: string, value: string): Buffer;
  storeWatch(key: string): Buffer;
  storeGet(key: string): Buffer;
  storeValue(result: Uint8Array): string | null;
  storeNotification(payload: Uint8Array): [string, string];
}

/** The platform's name, as its package has it. */
function platform(): string {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  // Else the names of all peers of the process's connections would be looked up, which may take long.
  const { excludeNetwork } = report;
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  if (excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  return `linux-${arch}-${header?.glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`;
}

function find(): Native {
  const name = platform();
  const file = `zraft-client.${name}.node`;
  const failures: unknown[] = [];
  // A build of this tree goes first; an installed package has none. A bundle may have the file beside it.
  for (const place of [`${home}/native/${file}`, `zraft-client-${name}`, `./${file}`]) {
    try {
      return load(place) as Native;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new Error(
    `zraft-client has no native half for ${name} here. Installed: add its optional package zraft-client-${name}, which npm leaves ` +
      `out with --no-optional. In a checkout: "npm run build" makes it. Bundled: put ${file} beside the bundle`,
    { cause: new AggregateError(failures) },
  );
}

/** @internal */
export const native: Native = find();

/** @internal The native half's defaults, in milliseconds, requests and bytes, and its words for what never reaches it. */
interface Facts {
  readonly defaults: {
    readonly connectionTimeout: number;
    readonly keepAliveInterval: number;
    readonly sessionTimeout: number;
    readonly requestTimeout: number;
    readonly resendInterval: number;
    readonly detachedTimeout: number;
    readonly maxInFlight: number;
    readonly maxQueued: number;
    readonly maxQueuedBytes: number;
    readonly maxMessageSize: number;
    readonly maxServerRequests: number;
    readonly heartbeatInterval: number;
    readonly heartbeatTimeout: number;
  };
  readonly texts: { readonly overloaded: string; readonly cancelled: string };
}

/** @internal */
export const facts: Facts = JSON.parse(native.names()) as Facts;
