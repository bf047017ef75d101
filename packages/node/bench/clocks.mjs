// What time and memory a process took.
import { readFileSync } from "node:fs"
import { memoryUsage } from "node:process"

// Linux only: the thread whose number is the process's is the event loop's.
const LOOP = `/proc/self/task/${process.pid}/schedstat`

/** Nanoseconds that the event loop's thread ran; NaN where nobody counts them. */
function loopTime() {
  try {
    return Number(readFileSync(LOOP, "latin1").split(" ", 1)[0])
  } catch {
    return Number.NaN
  }
}

/** Milliseconds of wall time, microseconds of CPU of the process and of the event loop's thread. */
export function clocks() {
  const { user, system } = process.cpuUsage()
  return { wall: performance.now(), process: user + system, loop: loopTime() / 1000 }
}

/** Megabytes. */
export const resident = () => memoryUsage.rss() / 2 ** 20
