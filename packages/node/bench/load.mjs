// The load: so many requests in flight, each followed by the next as soon as it is answered.
import { setTimeout as sleep } from "node:timers/promises"

import { clocks, resident } from "./clocks.mjs"
import { median, quantile } from "./statistics.mjs"

/** How many answers come before the time is looked at. */
const STRIDE = 64

/**
 * Drives a subject through phases, `[milliseconds, atItsEnd()]`, one after the other, and ends with the last. Each answer is
 * counted where its receiver goes on.
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

  /** One more answer. False: it is over. */
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

/** Warms up, then measures: rate, and CPU per request. */
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

/** One request after the other: microseconds from each to its answer. */
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

/** What an open connection costs that nobody uses: percent of a core. */
export async function idle(_subject, { warmUp, time }) {
  await sleep(warmUp)
  const before = clocks()
  await sleep(time)
  const after = clocks()
  const wall = (after.wall - before.wall) * 1000
  return { cpu: ((after.process - before.process) / wall) * 100, loop: ((after.loop - before.loop) / wall) * 100 }
}

/** Resident megabytes under load: after warming up, at the end, and at most in between. Each a median of a second. */
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
