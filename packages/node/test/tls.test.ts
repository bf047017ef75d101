/** `tls://` endpoints: the embedded cluster behind a TLS proxy, and refusals with their reasons. */

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';

import { onTestFinished, expect, test } from 'vitest';

import { failureOf, newClient, next, startCluster } from './support/fixtures';

const file = (name: string): Buffer => readFileSync(new URL(`./support/certificates/${name}`, import.meta.url));

/** The proxy shows a certificate for the host `db.test`. */
const server = { cert: file('server.pem'), key: file('server.key') };
const asksForCertificates = { requestCert: true, rejectUnauthorized: true, ca: file('clients.pem') };

/** Starts an echoing cluster of one member behind a TLS proxy. Returns the member with its endpoint at the proxy. */
async function behindProxy(options: TlsOptions): Promise<{ 'node-1': string }> {
  const cluster = await startCluster({ application: 'echo' });
  const [, port] = /:([0-9]+)$/.exec([...cluster.clusterMembers.values()][0] as string) as unknown as [string, string];
  const proxy = createServer({ ...server, ...options }, (outside) => {
    const inside = connect(Number(port), '127.0.0.1');
    outside.on('error', () => inside.destroy()).on('close', () => inside.destroy());
    inside.on('error', () => outside.destroy()).on('close', () => outside.destroy());
    outside.pipe(inside).pipe(outside);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    proxy.close();
  });
  return { 'node-1': `tls://127.0.0.1:${(proxy.address() as { port: number }).port}` };
}

test('requests travel over TLS, with a client certificate and under a server name', async () => {
  const clusterMembers = await behindProxy(asksForCertificates);
  // Texts and bytes are both taken.
  const tls = { ca: file('servers.pem').toString(), cert: file('client.pem'), key: file('client.key'), serverName: 'db.test' };
  const client = newClient({ clusterMembers }, { tls });
  await client.connect();
  const payload = Buffer.alloc(1 << 20, 7);
  expect(Buffer.compare(await client.submitCommand(payload), payload)).toBe(0);
  await client.disconnect();
});

test.each([
  ['a CA that has not signed the certificate', { ca: file('clients.pem'), serverName: 'db.test' }, /not signed by a CA that was given/],
  ['another name than that of the endpoint', { ca: file('servers.pem') }, /127\.0\.0\.1.*set the server name/],
  ['no client certificate', { ca: file('servers.pem'), serverName: 'db.test' }, /asks for a client certificate/],
])('the cause of a failed attempt names the reason: %s', async (_, tls, reason) => {
  const client = newClient({ clusterMembers: await behindProxy(asksForCertificates) }, { tls });
  const failed = next(client, 'connectionFailure');
  const connecting = failureOf(client.connect());
  expect((await failed).error).toMatchObject({ name: 'ConnectionCause', code: 'tls', message: expect.stringMatching(reason) });
  await client.disconnect();
  expect(await connecting).toMatchObject({ code: 'CLOSED' });
});

test('a port without TLS is named as the reason', async () => {
  const cluster = await startCluster();
  const endpoint = ([...cluster.clusterMembers.values()][0] as string).replace('tcp://', 'tls://');
  const client = newClient({ clusterMembers: { 'node-1': endpoint } }, { tls: { ca: file('servers.pem') } });
  const failed = next(client, 'connectionFailure');
  const connecting = failureOf(client.connect());
  expect((await failed).error).toMatchObject({ code: 'tls', message: expect.stringContaining('does not speak TLS') });
  await client.disconnect();
  expect(await connecting).toMatchObject({ code: 'CLOSED' });
});
