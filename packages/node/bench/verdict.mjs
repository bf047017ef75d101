// The limits and the goals. Ratios are computed within each round, and their median is judged.
import { summary } from "./statistics.mjs"

const US = "zraft-client"
const HAND = "hand-written"
const ZEROMQ = "zeromq"
const PROMISES = "promises"

/** From this number in flight on, the package is compared with the hand-written client: with fewer, waking up dominates. */
const MANY = 256

/** Returns a row `{ what, unit, value: { median, least, most }, must, goal, direction }` for each figure. A row without a limit is for comparison. */
export function judge({ load, sequential, idle, memory }) {
  const rows = []
  const row = (what, unit, values, must, goal, direction = "at most") => {
    const kept = values.filter(Number.isFinite)
    if (kept.length > 0) rows.push({ what, unit, value: summary(kept), must, goal, direction })
  }
  const level = (inFlight, subject) => load.find((each) => each.inFlight === inFlight && each.subject === subject)?.rounds
  const ratios = (ours, theirs, figure) => ours.map((round, index) => round[figure] / theirs[index][figure])

  for (const inFlight of new Set(load.map((each) => each.inFlight))) {
    const [ours, theirs] = [level(inFlight, US), level(inFlight, HAND)]
    if (inFlight < MANY || ours === undefined || theirs === undefined) continue
    const many = inFlight.toLocaleString("en")
    row(`throughput against ${HAND}, ${many} in flight`, "", ratios(ours, theirs, "rate"), 0.9, 1, "at least")
    row(`process CPU per request against ${HAND}, ${many} in flight`, "", ratios(ours, theirs, "cpu"), 1.2, 1)
    row(`event-loop time per request against ${HAND}, ${many} in flight`, "", ratios(ours, theirs, "loop"), 0.7, 0.5)
  }
  const [most, many] = [level(10_000, US), level(1024, US)]
  if (most !== undefined && many !== undefined) {
    row("process CPU per request, 10,000 in flight against 1,024", "", ratios(most, many, "cpu"), 1.3)
    row("event-loop time per request, 10,000 in flight against 1,024", "", ratios(most, many, "loop"), 1.3)
    // The share of promises themselves, which no client can change: beyond 0.3 it exceeds the limit alone.
    const [mostAlone, manyAlone] = [level(10_000, PROMISES), level(1024, PROMISES)]
    if (mostAlone !== undefined && manyAlone !== undefined) {
      const share = (figure) => many.map((round, index) => (mostAlone[index][figure] - manyAlone[index][figure]) / round[figure])
      row("process CPU that promises alone take more, 10,000 in flight than 1,024; of a request's at 1,024", "", share("cpu"))
      row("event-loop time that promises alone take more, 10,000 in flight than 1,024; of a request's at 1,024", "", share("loop"))
    }
  }
  const latencies = (subject) => sequential.find((each) => each.subject === subject)?.rounds
  if (latencies(US) !== undefined && latencies(ZEROMQ) !== undefined) {
    row(`sequential p50 against ${ZEROMQ}`, "", ratios(latencies(US), latencies(ZEROMQ), "p50"), 1.3)
  }
  const resting = idle.find((each) => each.subject === US)
  if (resting !== undefined) row("CPU when idle, of a core", "%", resting.rounds.map((round) => round.cpu), 0.5)
  const loaded = memory.find((each) => each.subject === US)
  if (loaded !== undefined) {
    const { settings, result } = loaded
    row(`growth of resident memory in ${settings.time / 1000} s of load`, "MB", [result.end - result.warm], 30)
  }
  return rows.map((row) => ({
    ...row,
    mustHolds: holds(row, row.must),
    goalHolds: holds(row, row.goal),
  }))
}

function holds({ value, direction }, limit) {
  if (limit === undefined) return undefined
  return direction === "at least" ? value.median >= limit : value.median <= limit
}
