// The time and the memory that a process used.
import { readFileSync } from "node:fs"
import { memoryUsage } from "node:process"

// Linux only: the event loop's thread has the number of the process.
const LOOP = `/proc/self/task/${process.pid}/schedstat`

/** Returns the nanoseconds that the event loop's thread has run; NaN where the system does not count them. */
function loopTime() {
  try {
    return Number(readFileSync(LOOP, "latin1").split(" ", 1)[0])
  } catch {
    return Number.NaN
  }
}

/** Returns milliseconds of wall time and microseconds of CPU of the process and of the event loop's thread. */
export function clocks() {
  const { user, system } = process.cpuUsage()
  return { wall: performance.now(), process: user + system, loop: loopTime() / 1000 }
}

/** Returns the resident memory in MiB. */
export const resident = () => memoryUsage.rss() / 2 ** 20
