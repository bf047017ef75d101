/** Secrets that their owner can read, and that nothing shows by accident. */

import { inspect, type InspectOptions } from 'node:util';

const MASK = '***';

/** Hides the values of a map from whoever looks at it, not from whoever asks for one. */
export class SecretMap extends Map<string, string> {
  toJSON(): Record<string, string> {
    return Object.fromEntries([...this.keys()].map((name) => [name, MASK]));
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return inspect(new Map([...this.keys()].map((name) => [name, MASK])), options);
  }
}

/** A record that may carry a session id: the property gives it, `inspect` and `JSON.stringify` mask it. */
export class Masked {
  /** Gives `target` a property that is not shown. */
  static add(target: object, sessionId: string): void {
    // A getter is not run by who shows hidden properties.
    Object.defineProperty(target, 'sessionId', { get: () => sessionId, enumerable: false });
  }

  private shown(): Record<string, unknown> {
    const { type, ...rest } = this as Record<string, unknown>;
    return { ...(type === undefined ? {} : { type }), ...('sessionId' in this ? { sessionId: MASK } : {}), ...rest };
  }

  /** @internal */
  toJSON(): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(this.shown()).map(([name, value]) => [name, typeof value === 'bigint' ? value.toString() : value]),
    );
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return inspect(this.shown(), options);
  }
}
