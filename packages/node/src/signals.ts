/** Listening to abort signals: once for each, however many requests share it, or Node would warn of a leak. */

const hooks = new WeakMap<AbortSignal, Set<() => void>>();

function abort(this: AbortSignal): void {
  const waiting = hooks.get(this);
  hooks.delete(this);
  waiting?.forEach((hook) => hook());
}

/** @internal Calls `hook` when the signal, which has not aborted, does. */
export function listen(signal: AbortSignal, hook: () => void): void {
  const waiting = hooks.get(signal);
  if (waiting !== undefined) {
    waiting.add(hook);
    return;
  }
  hooks.set(signal, new Set([hook]));
  try {
    signal.addEventListener('abort', abort, { once: true });
  } catch (error) {
    hooks.delete(signal);
    throw error;
  }
}

/** @internal Does not call it any more. */
export function unlisten(signal: AbortSignal, hook: () => void): void {
  const waiting = hooks.get(signal);
  if (waiting?.delete(hook) !== true || waiting.size > 0) return;
  hooks.delete(signal);
  try {
    signal.removeEventListener('abort', abort);
  } catch {
    // A signal of another class may do anything. What it calls from now on finds no hook.
  }
}
