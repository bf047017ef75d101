import assert from "node:assert/strict"
import { test } from "node:test"

import { judge } from "../verdict.mjs"

const rounds = (...figures) => figures.map(([rate, cpu, loop]) => ({ rate, cpu, loop }))
const nothing = { load: [], sequential: [], idle: [], memory: [] }
const find = (rows, words) => rows.find(({ what }) => what.includes(words))

test("ratios are computed within each round, and their median is judged", () => {
  const load = [
    { inFlight: 256, subject: "zraft-client", rounds: rounds([90, 2, 1], [20, 8, 4], [300, 1, 0.5]) },
    { inFlight: 256, subject: "hand-written", rounds: rounds([100, 2, 2], [20, 8, 8], [100, 2, 1]) },
  ]
  const throughput = find(judge({ ...nothing, load }), "throughput")
  assert.deepEqual(throughput.value, { median: 1, least: 0.9, most: 3 })
  assert.equal(throughput.mustHolds, true)
  assert.equal(throughput.goalHolds, true)
})

test("a missed limit and a missed goal are reported", () => {
  const load = [
    { inFlight: 1024, subject: "zraft-client", rounds: rounds([80, 1.1, 0.6]) },
    { inFlight: 1024, subject: "hand-written", rounds: rounds([100, 1, 1]) },
  ]
  const rows = judge({ ...nothing, load })
  assert.equal(find(rows, "throughput").mustHolds, false)
  assert.deepEqual([find(rows, "process CPU").mustHolds, find(rows, "process CPU").goalHolds], [true, false])
  assert.deepEqual([find(rows, "event-loop").mustHolds, find(rows, "event-loop").goalHolds], [true, false])
})

test("below 256 in flight nothing is compared with the hand-written client", () => {
  const load = [
    { inFlight: 64, subject: "zraft-client", rounds: rounds([1, 9, 9]) },
    { inFlight: 64, subject: "hand-written", rounds: rounds([100, 1, 1]) },
  ]
  assert.deepEqual(judge({ ...nothing, load }), [])
})

test("10,000 in flight are compared with 1,024 of the same round", () => {
  const load = [
    { inFlight: 1024, subject: "zraft-client", rounds: rounds([1, 1, 1], [1, 2, 2], [1, 4, 4]) },
    { inFlight: 10_000, subject: "zraft-client", rounds: rounds([1, 1.2, 2], [1, 2.4, 4], [1, 4.8, 8]) },
  ]
  const rows = judge({ ...nothing, load })
  assert.equal(find(rows, "process CPU per request, 10,000").value.median.toFixed(1), "1.2")
  assert.equal(find(rows, "event-loop time per request, 10,000").mustHolds, false)
})

test("the share of promises alone is reported and not judged", () => {
  const load = [
    { inFlight: 1024, subject: "zraft-client", rounds: rounds([1, 0.5, 0.4]) },
    { inFlight: 10_000, subject: "zraft-client", rounds: rounds([1, 0.75, 0.6]) },
    { inFlight: 1024, subject: "promises", rounds: rounds([1, 0.2, 0.2]) },
    { inFlight: 10_000, subject: "promises", rounds: rounds([1, 0.4, 0.3]) },
  ]
  const rows = judge({ ...nothing, load })
  const alone = rows.filter(({ what }) => what.includes("promises alone"))
  assert.deepEqual(
    alone.map(({ value, mustHolds, goalHolds }) => [value.median.toFixed(2), mustHolds, goalHolds]),
    [
      ["0.40", undefined, undefined],
      ["0.25", undefined, undefined],
    ],
  )
})

test("a figure that could not be measured is not judged", () => {
  const load = ["zraft-client", "hand-written"].map((subject) => ({
    inFlight: 256,
    subject,
    rounds: rounds([1, 1, Number.NaN]),
  }))
  const rows = judge({ ...nothing, load })
  assert.equal(find(rows, "event-loop"), undefined)
  assert.notEqual(find(rows, "throughput"), undefined)
})

test("latency, idle time and memory have their limits", () => {
  const rows = judge({
    ...nothing,
    sequential: [
      { subject: "zraft-client", rounds: [{ p50: 66 }] },
      { subject: "zeromq", rounds: [{ p50: 50 }] },
    ],
    idle: [{ subject: "zraft-client", rounds: [{ cpu: 0.4 }] }],
    memory: [{ subject: "zraft-client", settings: { time: 60_000 }, result: { warm: 90, end: 121 } }],
  })
  assert.deepEqual(
    rows.map(({ mustHolds }) => mustHolds),
    [false, true, false],
  )
})
