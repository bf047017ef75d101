/** Secrets that the application can read and that logs do not show. */

import { inspect, type InspectOptions } from 'node:util';

const MASK = '***';

/** A map whose values `inspect` and `JSON.stringify` mask. `get()` and iteration return them. */
export class SecretMap extends Map<string, string> {
  toJSON(): Record<string, string> {
    return Object.fromEntries([...this.keys()].map((name) => [name, MASK]));
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return inspect(new Map([...this.keys()].map((name) => [name, MASK])), options);
  }
}

/** A record that may have a session id: the property returns it, `inspect` and `JSON.stringify` mask it. */
export class Masked {
  /** Adds a `sessionId` to `target`, not enumerable. */
  static add(target: object, sessionId: string): void {
    // A getter: tools that show hidden properties do not run it.
    Object.defineProperty(target, 'sessionId', { get: () => sessionId, enumerable: false });
  }

  private shown(): Record<string, unknown> {
    const { type, ...rest } = this as Record<string, unknown>;
    return { ...(type === undefined ? {} : { type }), ...('sessionId' in this ? { sessionId: MASK } : {}), ...rest };
  }

  /** @internal The form for `JSON.stringify`, which has no numbers of 64 bits. */
  toJSON(): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(this.shown()).map(([name, value]) => [name, typeof value === 'bigint' ? value.toString() : value]),
    );
  }

  /** @internal The form for `inspect`. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return inspect(this.shown(), options);
  }
}
