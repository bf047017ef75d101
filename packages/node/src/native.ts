/** The interface of the native half, and the search for its binary. */

import { home, load } from './here';

/** @internal One client of the native half. */
export interface NativeClient {
  pusher(): (batch: Buffer, length: number) => number;
  allPusher(): (batch: Buffer, length: number) => number;
  taker(): (into: Buffer, offset: number) => number;
  stage(payload: Uint8Array): void;
  stageMembers(members: string): string | null;
  takeOutOfLine(into: Buffer): void;
  limits(): string;
  payloadFailure(length: number): string | null;
  abandon(): void;
  release(): boolean;
  readonly state: string;
  readonly sessionId: string | null;
  readonly memberId: string | null;
  stats(): string;
}

/** @internal One embedded cluster of the native half. */
export interface NativeCluster {
  call(number: number, name: string, args: string, payload: Uint8Array): void;
  endCall(outcome: string, payloads: Buffer[]): void;
  release(): void;
}

/** @internal The native half. */
export interface Native {
  NativeClient: new (settings: string, wake: () => void) => NativeClient;
  NativeCluster: new (
    options: string,
    answer: (number: number, result: string) => void,
    run?: (description: string, payload: Buffer) => void,
  ) => NativeCluster;
  checkSettings(settings: string): string | null;
  runtimeUsers(): number;
  names(): string;
  storeSet(key: string, value: string): Buffer;
  storeWatch(key: string): Buffer;
  storeGet(key: string): Buffer;
  storeValue(result: Uint8Array): string | null;
  storeNotification(payload: Uint8Array): [string, string];
}

/** Returns the platform's name as in the name of its package. */
function platform(): string {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  // The report would resolve the names of all peers of the process's connections otherwise, which may take long.
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
  // A build of this checkout first, which an installed package does not have; then the installed one; then a file beside the bundle.
  for (const place of [`${home}/native/${file}`, `zraft-client-${name}`, `./${file}`]) {
    try {
      return load(place) as Native;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new Error(
    `zraft-client found no native half for ${name}. If it is installed: add the optional package zraft-client-${name}, which npm ` +
      `omits with --no-optional. In a checkout: run "npm run build". In a bundle: put ${file} beside it`,
    { cause: new AggregateError(failures) },
  );
}

/** @internal The native half of this platform. */
export const native: Native = find();

/** @internal A row of the table of settings. Times are in milliseconds; a part of another setting has its name and a dot before its own. */
export type Setting = {
  readonly name: string;
  readonly doc: string;
  /** The default and the limits for people, such as `5 s` and `1 ms to 1 h`; empty if there are none. */
  readonly default: string;
  readonly range: string;
} & (
  | { readonly kind: 'entries'; readonly max: number }
  | { readonly kind: 'time'; readonly value: number; readonly min: number; readonly max: number; readonly unlimited: boolean }
  | { readonly kind: 'number'; readonly value: number; readonly min: number; readonly max: number }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'parts' }
);

/** @internal The native half's settings with their defaults, and its texts for failures that never reach it. */
interface Facts {
  readonly settings: readonly Setting[];
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly texts: { readonly overloaded: string; readonly cancelled: string };
}

/** @internal The facts of the native half. */
export const facts: Facts = JSON.parse(native.names()) as Facts;
