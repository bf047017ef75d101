// How long the event loop stays awake for an answer, by a clock and turns that the test moves.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { Requests } from '../dist/requests.js';
import { Vigil } from '../dist/vigil.js';

const requests = { open: 0 };
let vigil: Vigil;
let now: number;
/** What is to be done in the next turn of the loop. */
let turns: (() => void)[];

beforeEach(() => {
  now = 0;
  turns = [];
  vi.stubGlobal('setImmediate', (callback: (argument: unknown) => void, argument: unknown) => turns.push(() => callback(argument)));
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  requests.open = 0;
  vigil = new Vigil(requests as unknown as Requests);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Asks for something while so many requests wait. True: the loop turns. */
function ask(open: number): boolean {
  requests.open = open;
  vigil.begin();
  return turns.length > 0;
}

/** A turn of the loop, so many milliseconds later. True: it goes on turning. */
function turn(time: number): boolean {
  now += time;
  for (const each of turns.splice(0)) each();
  return turns.length > 0;
}

test('the loop turns while few requests wait', () => {
  expect(ask(1)).toBe(true);
  expect(turn(0.01)).toBe(true);
});

test('the loop does not turn while many requests wait', () => {
  expect(ask(100)).toBe(false);
});

test('the loop does not turn where nothing waits', () => {
  expect(ask(0)).toBe(false);
});

test('the loop turns for a moment only', () => {
  ask(1);
  expect(turn(1)).toBe(false);
});

test('the loop turns no more when all is answered', () => {
  ask(1);
  requests.open = 0;
  expect(turn(0.01)).toBe(false);
});

test('the loop turns on while each answer is followed by a request', () => {
  ask(1);
  for (let request = 0; request < 100; request++) {
    expect(turn(0.09)).toBe(true);
    ask(1);
  }
});

test('requests that follow each other without an answer do not prolong it', () => {
  ask(1);
  turn(0.09);
  ask(2);
  expect(turn(0.09)).toBe(false);
});

test('the loop turns ever more seldom where answers take long', () => {
  const spared: number[] = [];
  for (let round = 0; round < 13; round++) {
    let asked = 0;
    while (!ask(1)) asked++;
    spared.push(asked);
    turn(1);
  }
  expect(spared).toEqual([0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]);
});

test('an answer in time makes good for those that took long', () => {
  ask(1);
  turn(1);
  expect(ask(1)).toBe(false);
  expect(ask(1)).toBe(true);
  requests.open = 0;
  turn(0.01);
  expect(ask(1)).toBe(true);
});
