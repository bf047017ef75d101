// Sends many requests, every thousandth of them with a hostile payload, and prints their outcomes. Each answer must belong
// to its request: the cluster echoes, and no two payloads are alike.
import { setImmediate } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';

import { CancelledError, RaftClient, ValidationError } from 'zraft-client';

const [count, members] = process.argv.slice(2);
const LENGTHS = [24, 60, 6_000];

const client = new RaftClient({ clusterMembers: JSON.parse(members), capabilities: { kind: 'hostile' }, requestTimeout: Infinity });

let numbers = 0;
/** Returns bytes that no other payload has. */
function unique(length) {
  const bytes = Buffer.alloc(length, 0x2e);
  bytes.write(`${numbers++}:`);
  return bytes;
}

class Liar extends Uint8Array {
  constructor(bytes, behaviour) {
    super(bytes);
    this.behaviour = behaviour;
  }
  get length() {
    if (this.behaviour === 'throw') throw new Error('hostile');
    if (this.behaviour === 'submit') return (submitPlain(), 3);
    return this.behaviour;
  }
  get byteLength() {
    return this.length;
  }
  get buffer() {
    return new ArrayBuffer(1);
  }
  static get [Symbol.species]() {
    throw new Error('hostile');
  }
}

const foreign = runInNewContext(
  '({ Uint8Array, copy: (bytes) => Uint8Array.from(bytes), liar: (bytes) => new (class extends Uint8Array { get length() { return 1; } })(bytes) })',
);

/** Returns a payload in memory of another kind, `extra` bytes longer. */
function within(Memory, bytes, extra = 0) {
  const memory = new Memory(bytes.length + 8, { maxByteLength: bytes.length + 64 });
  const payload = new Uint8Array(memory, 8);
  payload.set(bytes);
  if (extra > 0) {
    if (Memory === ArrayBuffer) memory.resize(memory.byteLength + extra);
    else memory.grow(memory.byteLength + extra);
  }
  return payload;
}

const refused = (payload, options) => ({ payload, options, error: ValidationError });
const taken = (payload, bytes, options, also) => ({ payload, expected: Buffer.from(bytes), options, also });

/** Returns a signal that does `how` when a listener is added. */
function signal(how) {
  const target = new EventTarget();
  return Object.assign(target, { aborted: false, reason: 'hostile', addEventListener: how.bind(target) });
}

/** The hostile payloads, each with its own bytes: those that must be refused with which error, and those that must be accepted with which bytes. */
const HOSTILE = [
  (bytes) => refused(new Proxy(new Uint8Array(bytes), {})),
  (bytes) =>
    refused(new Proxy(new Uint8Array(bytes), { get: (target, key) => (key === 'length' ? target.length : Reflect.get(target, key)) })),
  (bytes) => refused(Object.assign(Object.create(Uint8Array.prototype, { length: { value: bytes.length } }), bytes)),
  (bytes) => refused(Object.assign(Object.create(Buffer.prototype, { length: { value: bytes.length } }), { 0: 1 })),
  (bytes) => refused(new Uint8ClampedArray(bytes)),
  (bytes) => refused(new DataView(new ArrayBuffer(bytes.length))),
  (bytes) => refused(new Proxy(foreign.copy(bytes), {})),
  (bytes) => taken(new Liar(bytes, 1), bytes),
  (bytes) => taken(new Liar(bytes, bytes.length + 1_000_000), bytes),
  (bytes) => taken(new Liar(bytes, -1), bytes),
  (bytes) => taken(new Liar(bytes, 'throw'), bytes),
  (bytes) => taken(new Liar(bytes, 'submit'), bytes),
  (bytes) => taken(Object.defineProperty(new Uint8Array(bytes), 'length', { value: 7 }), bytes),
  (bytes) => taken(Object.setPrototypeOf(new Uint8Array(bytes), null), bytes),
  (bytes) => taken(foreign.copy(bytes), bytes),
  (bytes) => taken(foreign.liar(bytes), bytes),
  (bytes) => {
    const payload = new Uint8Array(bytes);
    structuredClone(payload.buffer, { transfer: [payload.buffer] });
    return refused(payload);
  },
  (bytes) => {
    const payload = new Uint8Array(bytes);
    return refused(payload, {
      get timeout() {
        structuredClone(payload.buffer, { transfer: [payload.buffer] });
        return undefined;
      },
    });
  },
  (bytes) => {
    const memory = new ArrayBuffer(bytes.length, { maxByteLength: bytes.length });
    const payload = new Uint8Array(memory, 4, bytes.length - 4);
    memory.resize(bytes.length - 1);
    return refused(payload);
  },
  (bytes) => taken(within(ArrayBuffer, bytes), bytes),
  (bytes) => taken(within(ArrayBuffer, bytes, 5), Buffer.concat([bytes, Buffer.alloc(5)])),
  (bytes) => {
    const payload = within(ArrayBuffer, bytes);
    const options = {
      get timeout() {
        payload.buffer.resize(8 + 20);
        return undefined;
      },
    };
    return taken(payload, bytes.subarray(0, 20), options);
  },
  (bytes) => taken(within(SharedArrayBuffer, bytes), bytes),
  (bytes) => taken(within(SharedArrayBuffer, bytes, 5), Buffer.concat([bytes, Buffer.alloc(5)])),
  (bytes) => {
    const payload = new Uint8Array(bytes);
    return taken(payload, bytes, undefined, () => payload.fill(0));
  },
  (bytes) => {
    const payload = new Uint8Array(bytes);
    return taken(payload, bytes, undefined, () => structuredClone(payload.buffer, { transfer: [payload.buffer] }));
  },
  (bytes) => {
    const options = {
      get timeout() {
        submitPlain();
        return undefined;
      },
    };
    return taken(bytes, bytes, options);
  },
  (bytes) => ({
    payload: bytes,
    error: RangeError,
    options: {
      signal: signal(() => {
        throw new RangeError('hostile');
      }),
    },
  }),
  (bytes) => ({
    payload: bytes,
    error: CancelledError,
    options: {
      signal: signal(function (_, hook) {
        hook.call(this);
      }),
    },
  }),
  (bytes) => {
    const options = { signal: signal(() => submitPlain()) };
    options.signal.removeEventListener = () => {
      submitPlain();
      throw new Error('hostile');
    };
    return taken(bytes, bytes, options);
  },
  (bytes) => ({ payload: bytes, options: { timeout: 'soon' }, error: ValidationError }),
];

const outcome = { answered: 0, refused: 0, wrong: [] };
const open = new Set();

/** Submits from inside another submission. This request must get its own answer as well. */
function submitPlain() {
  const bytes = unique(40);
  const request = expectAnswer(client.submitCommand(bytes), bytes).then(() => open.delete(request));
  open.add(request);
}

async function expectAnswer(answer, expected) {
  try {
    if (expected.equals(await answer)) outcome.answered++;
    else outcome.wrong.push(`another's answer instead of ${expected.subarray(0, 20)}`);
  } catch (error) {
    outcome.wrong.push(`${error} instead of ${expected.subarray(0, 20)}`);
  }
}

async function attack(number) {
  const { payload, options, expected, error, also } = HOSTILE[number % HOSTILE.length](unique(LENGTHS[number % LENGTHS.length]));
  let answer;
  try {
    answer = number % 2 === 0 ? client.submitCommand(payload, options) : client.submitQuery(payload, options);
    also?.();
    if (expected !== undefined) return await expectAnswer(answer, expected);
    await answer;
    outcome.wrong.push(`${number} was taken`);
  } catch (thrown) {
    if (error !== undefined && thrown instanceof error) outcome.refused++;
    else outcome.wrong.push(`${number}: ${thrown}`);
  }
}

let left = Number(count);
async function lane() {
  for (;;) {
    const number = --left;
    if (number < 0) return;
    if (number % 1000 === 0) await attack(number / 1000);
    else {
      const bytes = unique(24);
      await expectAnswer(number % 2 === 0 ? client.submitCommand(bytes) : client.submitQuery(bytes), bytes);
    }
  }
}

async function memory() {
  // Finalizers need a turn of the event loop each.
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    await setImmediate();
  }
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
  return { heap: heapUsed, outside: external + arrayBuffers, rss };
}

async function run(requests) {
  left = requests;
  await Promise.all(Array.from({ length: 256 }, lane));
  while (open.size > 0) await Promise.all(open);
}

await client.connect();
// First every kind at every length, so that memory is at its level under work.
for (let number = 0; number < HOSTILE.length * LENGTHS.length * 2; number++) await attack(number);
await run(Number(count) / 5);
const before = await memory();
const started = performance.now();
await run(Number(count));
const seconds = (performance.now() - started) / 1000;
const after = await memory();
const { inFlight, queued, queuedBytes, detached } = client.stats();
await client.disconnect();
process.stdout.write(
  JSON.stringify({ ...outcome, kinds: HOSTILE.length, held: { inFlight, queued, queuedBytes, detached }, before, after, seconds }),
);
