/** The scenarios that the first design asks for, and the test of each: a renamed or deleted one is noticed. */

import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const SCENARIOS: [scenario: string, file: string, test: string][] = [
  ['full lifecycle', 'lifecycle', 'a client is constructed, connects, is answered, and disconnects'],
  ['events connected and disconnected', 'lifecycle', 'connected and disconnected tell the session, the member, and why'],
  ['1,000 concurrent commands', 'concurrentCommands', '1,000 commands at once are answered by Promise.all, each with its own answer'],
  ['automatic reconnection', 'reconnection', 'a lost connection is opened again, and the session continued'],
  [
    'pending commands preserved',
    'reconnection',
    'commands that are pending when the connection is lost are preserved, answered, and executed once',
  ],
  ['pending queries preserved', 'reconnection', 'queries that are pending when the connection is lost are preserved and answered'],
  [
    'queued while reconnecting',
    'reconnection',
    'what is submitted while reconnecting is queued, and sent in order when the session is back',
  ],
  ['queued while connecting', 'connecting', 'what is submitted while connecting is queued, and sent in order when there is a session'],
  ['connect twice', 'connecting', 'connect twice opens one session: the second call joins the first'],
  ['timeouts with requestId', 'timeouts', 'a command that was sent times out with its requestId and an unknown outcome'],
  ['leadership change', 'leadershipChange', 'the session follows the leader, and pending commands are executed once'],
  ['expiry', 'sessionExpiry', 'expiry fails all that is pending with SessionExpiredError, and is told by sessionExpired'],
  ['server requests in order', 'serverRequests', 'server requests are delivered in order'],
  ['duplicates not delivered', 'serverRequests', 'a repeated server request is not delivered twice'],
  ['handlers registered before connect', 'serverRequests', 'a handler registered before connect gets the first request'],
  ['validation thrown synchronously', 'validation', 'a payload that cannot be sent throws synchronously'],
];

test.each(SCENARIOS)('%s has its test', (_, file, title) => {
  expect(readFileSync(new URL(`./${file}.test.ts`, import.meta.url), 'utf8')).toContain(title);
});
