// The load: a fixed number of requests in flight. A caller submits its next request as soon as its last one is answered.
import { setTimeout as sleep } from "node:timers/promises"

import { clocks, resident } from "./clocks.mjs"
import { median, quantile } from "./statistics.mjs"

/** Answers between two looks at the clock, so that reading it costs next to nothing. */
const STRIDE = 64

/**
 * Drives a subject through phases, `[milliseconds, atItsEnd()]`, one after the other. Counts each answer where its caller
 * continues.
 */
export class Load {
  done = 0
  #phases
  #end
  #looked = 0

  constructor(phases) {
    this.#phases = phases.values()
    this.#end = performance.now()
    this.#next()
  }

  /** Counts an answer. Returns false once the last phase is over. */
  answered() {
    this.done += 1
    if (this.done - this.#looked >= STRIDE) {
      this.#looked = this.done
      if (this.#phase !== undefined && performance.now() >= this.#end) {
        this.#phase[1]()
        this.#next()
      }
    }
    return this.#phase !== undefined
  }

  #phase = undefined

  #next() {
    this.#phase = this.#phases.next().value
    if (this.#phase !== undefined) this.#end = performance.now() + this.#phase[0]
  }

  async run(subject, payload, inFlight) {
    if (inFlight > 1 && subject.drive !== undefined) {
      return subject.drive(payload, inFlight, () => this.answered())
    }
    const caller = async () => {
      do await subject.request(payload)
      while (this.answered())
    }
    await Promise.all(Array.from({ length: inFlight }, caller))
  }
}

const nothing = () => {}

/** Warms up, then measures the rate and the CPU per request. */
export async function throughput(subject, { payload, inFlight, warmUp, time }) {
  const readings = []
  const read = () => readings.push({ done: load.done, ...clocks() })
  const load = new Load([
    [warmUp, read],
    [time, read],
  ])
  await load.run(subject, payload, inFlight)
  const [before, after] = readings
  const requests = after.done - before.done
  return {
    requests,
    rate: (requests * 1000) / (after.wall - before.wall),
    cpu: (after.process - before.process) / requests,
    loop: (after.loop - before.loop) / requests,
  }
}

/** Sends one request after the other and measures the microseconds to each answer. */
export async function latency(subject, { payload, warmUp, time }) {
  const times = []
  for (let now = performance.now(), warm = now + warmUp, end = warm + time; now < end; ) {
    const from = now
    await subject.request(payload)
    now = performance.now()
    if (now >= warm) times.push((now - from) * 1000)
  }
  times.sort((a, b) => a - b)
  return { requests: times.length, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
}

/** Measures the CPU of an open connection without requests, in percent of a core. */
export async function idle(_subject, { warmUp, time }) {
  await sleep(warmUp)
  const before = clocks()
  await sleep(time)
  const after = clocks()
  const wall = (after.wall - before.wall) * 1000
  return { cpu: ((after.process - before.process) / wall) * 100, loop: ((after.loop - before.loop) / wall) * 100 }
}

/** Measures resident megabytes under load after warming up, at the end, and the most in between. Each is the median of a second. */
export async function memory(subject, { payload, inFlight, warmUp, time }) {
  const level = (samples) => Array.from({ length: 20 }, () => [50, () => samples.push(resident())])
  const [first, between, last] = [[], [], []]
  const seconds = Math.max(0, Math.floor(time / 1000) - 1)
  const load = new Load([
    [Math.max(0, warmUp - 1000), nothing],
    ...level(first),
    ...Array.from({ length: seconds }, () => [1000, () => between.push(resident())]),
    ...level(last),
  ])
  await load.run(subject, payload, inFlight)
  return { requests: load.done, warm: median(first), end: median(last), most: Math.max(...first, ...between, ...last) }
}
