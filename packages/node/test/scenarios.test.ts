/** The scenarios that the first design requires, and the test of each. A test that is renamed or deleted fails this one. */

import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const SCENARIOS: [scenario: string, file: string, test: string][] = [
  ['full lifecycle', 'lifecycle', 'a client connects, gets an answer and disconnects'],
  ['events connected and disconnected', 'lifecycle', 'connected and disconnected have the session, the member and the reason'],
  [
    '1,000 concurrent commands',
    'concurrentCommands',
    '1,000 concurrent commands each get their own answer and are executed once and in order',
  ],
  ['automatic reconnection', 'reconnection', 'a client reconnects after it lost its connection and continues the session'],
  ['pending commands preserved', 'reconnection', 'commands pending when the connection is lost are preserved, answered and executed once'],
  ['pending queries preserved', 'reconnection', 'queries pending when the connection is lost are preserved and answered'],
  [
    'queued while reconnecting',
    'reconnection',
    'requests submitted while reconnecting are queued and sent in order when the session continues',
  ],
  ['queued while connecting', 'connecting', 'requests submitted while connecting are queued and sent in order when the session is open'],
  ['connect twice', 'connecting', 'connect twice opens one session: the second call joins the first'],
  ['timeouts with requestId', 'timeouts', 'a command that was sent times out with its requestId and an unknown outcome'],
  ['leadership change', 'leadershipChange', 'the session follows the leader, and pending commands are executed once'],
  ['expiry', 'sessionExpiry', 'expiry fails everything pending with SessionExpiredError and emits sessionExpired'],
  ['server requests in order', 'serverRequests', 'server requests are delivered in order'],
  ['duplicates not delivered', 'serverRequests', 'a repeated server request is not delivered twice'],
  ['handlers registered before connect', 'serverRequests', 'a handler registered before connect gets the first server request'],
  ['validation thrown synchronously', 'validation', 'a payload that cannot be sent throws synchronously'],
];

test.each(SCENARIOS)('%s has its test', (_, file, title) => {
  expect(readFileSync(new URL(`./${file}.test.ts`, import.meta.url), 'utf8')).toContain(title);
});
