/** Listening to abort signals: one listener per signal, however many requests share it. Node would warn of a leak otherwise. */

const hooks = new WeakMap<AbortSignal, Set<() => void>>();

function abort(this: AbortSignal): void {
  const waiting = hooks.get(this);
  hooks.delete(this);
  waiting?.forEach((hook) => hook());
}

/** Calls `hook` when the signal aborts. The signal must not have aborted yet. Throws what the signal throws. */
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

/** Takes `hook` off the signal. Never throws. */
export function unlisten(signal: AbortSignal, hook: () => void): void {
  const waiting = hooks.get(signal);
  if (waiting?.delete(hook) !== true || waiting.size > 0) return;
  hooks.delete(signal);
  try {
    signal.removeEventListener('abort', abort);
  } catch {
    // A signal of another class may throw. If it calls the listener later, the listener finds no hook.
  }
}
