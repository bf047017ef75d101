// Every error and what to do about it. Each has a `code`, and `maybeExecuted` says if the command may have been executed.
import { RaftClient, RaftClientError, TimeoutError } from 'zraft-client';
import { TestCluster } from 'zraft-client/testing';

/**
 * Returns what a program can do about an error of a request.
 *
 * @param {unknown} error
 * @returns {string}
 */
function advice(error) {
  if (!(error instanceof RaftClientError)) throw error;
  switch (error.code) {
    case 'VALIDATION':
      return 'a bug in the program: nothing was sent';
    case 'NOT_CONNECTED':
      return 'connect() first';
    case 'CLOSED':
      return error.maybeExecuted ? 'disconnect() came before the answer' : 'disconnect() came before it was sent';
    case 'OVERLOADED':
      return 'await ready(), then submit again';
    case 'TIMEOUT':
    case 'CANCELLED':
      return error.maybeExecuted ? 'read the state, or await resolution()' : 'submit again if it is still wanted';
    case 'SESSION_EXPIRED':
      return error.maybeExecuted ? 'read the state in a new session' : 'connect(), then submit again';
    case 'SESSION_REJECTED':
      return 'the servers refuse these capabilities';
    case 'CONNECTION':
      return 'no member leads or is reachable: read the cause, try again later';
    case 'RESPONSE_EVICTED':
      return 'the server no longer has the answer: read the state';
    case 'QUARANTINED':
      return 'members fail on this request: do not submit it again';
    case 'PROTOCOL':
      return 'this client cannot decode the answer, or it is too long';
    default:
      // The compiler checks that every code has a case.
      return /** @satisfies {never} */ (error.code);
  }
}

/**
 * @param {string} what
 * @param {() => Promise<unknown>} submit
 */
async function show(what, submit) {
  try {
    await submit();
    console.log(`${what}: answered`);
  } catch (error) {
    const { code, maybeExecuted } = /** @type {RaftClientError} */ (error);
    console.log(`${what}: ${code}, ${maybeExecuted ? 'maybe executed' : 'not executed'}: ${advice(error)}`);
  }
}

const payload = Buffer.from('payload');
const cluster = await TestCluster.start({ application: 'echo' });
const { clusterMembers } = cluster;
const capabilities = { role: 'example' };

const client = new RaftClient({ clusterMembers, capabilities, maxQueuedBytes: 1000 });
await show('before connect()', () => client.submitCommand(payload));
await client.connect();
await show('empty', async () => client.submitCommand(Buffer.alloc(0)));
await show('too long', async () => client.submitCommand(Buffer.alloc(1001)));
const first = client.submitCommand(Buffer.alloc(600));
await show('too much', () => client.submitCommand(Buffer.alloc(600)));
await first;
await show('aborted', () => client.submitCommand(payload, { signal: AbortSignal.abort() }));

await cluster.dropMessages('ClientResponse');
await show('no answer in time', () => client.submitCommand(payload, { timeout: 50 }));
try {
  await client.submitCommand(payload, { timeout: 50 });
} catch (error) {
  // The command was sent and the client still tracks it, so its answer can still come.
  await cluster.deliverAll();
  if (error instanceof TimeoutError) console.log(`resolution: ${await error.resolution()}`);
}

await cluster.dropMessages('answers');
const expired = show('expired', () => client.submitCommand(payload));
await cluster.journalReached(4);
await cluster.expireSession(client.sessionId ?? '');
await expired;
await cluster.deliverAll();

await client.connect();
await cluster.dropMessages('answers');
const closed = show('closed', () => client.submitCommand(payload));
await client.disconnect({ timeout: 50 });
await closed;
await cluster.stop();

const unreachable = new RaftClient({ clusterMembers: { 'node-1': 'tcp://127.0.0.1:1' }, capabilities });
await show('no member there', () => unreachable.connect({ timeout: 100 }));
