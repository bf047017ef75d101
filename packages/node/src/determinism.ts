/** Makes the sources of time and of random numbers throw while a function of an application runs. */

const TIME = 'context.time';
const RANDOM = 'context.random()';

/** The sources beside the class `Date`: the object that has the function, its names, and what to use in its place. */
const SOURCES: readonly (readonly [owner: object, ownerName: string, name: string, instead: string])[] = [
  [Math, 'Math', 'random', RANDOM],
  [performance, 'performance', 'now', TIME],
  [process, 'process', 'hrtime', TIME],
  [crypto, 'crypto', 'randomUUID', RANDOM],
  [crypto, 'crypto', 'getRandomValues', RANDOM],
];

function refuse(what: string, instead: string): never {
  throw new Error(`${what} differs from run to run, and an application must be deterministic: use ${instead}`);
}

/** Runs a function, in which the clock and random numbers throw. */
export function deterministic<T>(run: () => T): T {
  const undo: (() => void)[] = [];
  try {
    for (const [owner, ownerName, name, instead] of SOURCES) {
      const refusal = (): never => refuse(`${ownerName}.${name}()`, instead);
      // process.hrtime() has a second form.
      undo.push(replace(owner, name, Object.assign(refusal, { bigint: refusal })));
    }
    undo.push(replace(globalThis, 'Date', withoutClock(Date)));
    return run();
  } finally {
    for (const back of undo.reverse()) back();
  }
}

/** Replaces a property and returns the function that restores it. */
function replace(owner: object, name: string, value: unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(owner, name);
  // Someone else's rule, for example a frozen environment, is left alone.
  if (own?.configurable === false || !Object.isExtensible(owner)) return () => {};
  Object.defineProperty(owner, name, { value, configurable: true, writable: true, enumerable: own?.enumerable ?? false });
  return () => {
    if (own === undefined) Reflect.deleteProperty(owner, name);
    else Object.defineProperty(owner, name, own);
  };
}

/** Returns the class `Date` without the present time: dates can be made of other dates, numbers and texts. */
function withoutClock(date: DateConstructor): DateConstructor {
  return new Proxy(date, {
    apply: () => refuse('Date()', TIME),
    construct: (target, args: unknown[], newTarget) =>
      args.length === 0 ? refuse('new Date()', TIME) : (Reflect.construct(target, args, newTarget) as Date),
    get: (target, name, receiver) => (name === 'now' ? () => refuse('Date.now()', TIME) : (Reflect.get(target, name, receiver) as unknown)),
  });
}
