/** How long the event loop spins for an answer. The test controls the clock and the turns of the loop. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { Requests } from '../dist/requests.js';
import { SpinWait } from '../dist/spinWait.js';

const requests = { unsettled: 0 };
let spin: SpinWait;
let now: number;
/** The callbacks of the next turn of the loop. */
let turns: (() => void)[];

beforeEach(() => {
  now = 0;
  turns = [];
  vi.stubGlobal('setImmediate', (callback: (argument: unknown) => void, argument: unknown) => turns.push(() => callback(argument)));
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  requests.unsettled = 0;
  spin = new SpinWait(requests as unknown as Requests);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Pushes a batch while this many requests are unsettled. Returns true if the loop spins. */
function push(unsettled: number): boolean {
  requests.unsettled = unsettled;
  spin.begin();
  return turns.length > 0;
}

/** Runs a turn of the loop this many milliseconds later. Returns true if the loop still spins. */
function turn(time: number): boolean {
  now += time;
  for (const each of turns.splice(0)) each();
  return turns.length > 0;
}

test('the loop spins while few requests are unsettled', () => {
  expect(push(1)).toBe(true);
  expect(turn(0.01)).toBe(true);
});

test('the loop does not spin while many requests are unsettled', () => {
  expect(push(100)).toBe(false);
});

test('the loop does not spin without an unsettled request', () => {
  expect(push(0)).toBe(false);
});

test('the loop stops spinning after a moment', () => {
  push(1);
  expect(turn(1)).toBe(false);
});

test('the loop stops spinning when everything is answered', () => {
  push(1);
  requests.unsettled = 0;
  expect(turn(0.01)).toBe(false);
});

test('the loop keeps spinning while a request follows each answer', () => {
  push(1);
  for (let request = 0; request < 100; request++) {
    expect(turn(0.09)).toBe(true);
    push(1);
  }
});

test('a request without an answer before it does not extend the spin', () => {
  push(1);
  turn(0.09);
  push(2);
  expect(turn(0.09)).toBe(false);
});

test('the loop spins less and less often while answers take long', () => {
  const skipped: number[] = [];
  for (let round = 0; round < 13; round++) {
    let pushed = 0;
    while (!push(1)) pushed++;
    skipped.push(pushed);
    turn(1);
  }
  expect(skipped).toEqual([0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]);
});

test('an answer in time resets the number of batches without a spin', () => {
  push(1);
  turn(1);
  expect(push(1)).toBe(false);
  expect(push(1)).toBe(true);
  requests.unsettled = 0;
  turn(0.01);
  expect(push(1)).toBe(true);
});
