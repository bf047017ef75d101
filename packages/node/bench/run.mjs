// The benchmark of this package and its references. See README.md in this folder.
import { execFile } from "node:child_process"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { availableParallelism, cpus, loadavg, platform, release } from "node:os"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

import { options } from "./options.mjs"
import { between, report } from "./report.mjs"
import { build, start } from "./servers.mjs"
import { SUBJECTS } from "./subjects.mjs"
import { judge } from "./verdict.mjs"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const chosen = options(Object.keys(SUBJECTS))
const { form, rounds, levels, subjects, parts, payload, place } = chosen

const program = await build()

/** Runs one measurement in its own process, against its own server. */
async function measure(subject, measurement, settings) {
  const server = await start(program, SUBJECTS[subject].server, place ? availableParallelism() - 1 : undefined)
  try {
    const task = JSON.stringify({ subject, endpoint: server.endpoint, measurement, settings: { payload, loopCore: place ? 0 : undefined, ...settings } })
    const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", here("child.mjs"), task])
    return JSON.parse(stdout)
  } finally {
    await server.stop()
  }
}

/** Measures in rounds: for each of `cases`, all subjects one after the other, in each round in another order. */
async function interleaved(measurement, cases) {
  const measured = subjects.filter((subject) => (SUBJECTS[subject].only ?? measurement) === measurement)
  const results = cases.flatMap((settings) => measured.map((subject) => ({ subject, ...settings, rounds: [] })))
  for (let round = 0; round < rounds; round++) {
    for (const settings of cases) {
      const all = results.filter((each) => each.inFlight === settings.inFlight)
      const turned = [...all.slice(round % all.length), ...all.slice(0, round % all.length)]
      for (const result of turned) {
        progress(`${measurement}, ${settings.inFlight} in flight: round ${round + 1} of ${rounds}, ${result.subject}`)
        result.rounds.push(await measure(result.subject, measurement, settings))
      }
    }
  }
  return results.map(({ warmUp: _, time: __, ...result }) => result)
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

const { warmUp, time } = chosen
const started = new Date()
const load = []
const sequential = []
const idle = []
const memory = []
if (parts.includes("load")) {
  if (levels.includes(1)) sequential.push(...(await interleaved("latency", [{ inFlight: 1, warmUp, time }])))
  load.push(...(await interleaved("throughput", levels.map((inFlight) => ({ inFlight, warmUp, time })))))
}
if (parts.includes("idle")) {
  idle.push(...(await interleaved("idle", [{ inFlight: 1, warmUp: 1000, time: chosen.idle }])))
}
if (parts.includes("memory")) {
  for (const subject of subjects.filter((subject) => SUBJECTS[subject].only === undefined)) {
    progress(`memory, ${subject}`)
    const settings = { inFlight: 1024, ...chosen.memory }
    memory.push({ subject, settings, result: await measure(subject, "memory", settings) })
  }
}
progress("")

const results = {
  benchmark: "node",
  form,
  started: started.toISOString(),
  machine: {
    cpu: cpus()[0].model,
    cores: availableParallelism(),
    system: `${platform()} ${release()}`,
    node: process.version,
    loadAverage: loadavg()[0],
  },
  payload,
  rounds,
  place,
  sequential,
  load,
  idle,
  memory,
}
results.verdict = judge(results)

const text = report(results)
console.log(text)
const { cpu, cores, node, loadAverage } = results.machine
console.log(`${form} form, ${rounds} rounds; ${cores} cores of ${cpu}, Node ${node}, load average ${loadAverage.toFixed(1)}`)

async function write(path) {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(results, undefined, 2) + "\n")
}
await write(chosen.json ?? here("results/latest.json"))
if (chosen.write) {
  await write(here("results/node.json"))
  const document = here("../../../BENCHMARKS.md")
  const where = place ? ", each server on one core and each event loop on another" : ""
  const note = `Measured with Node ${node} on ${cores} cores of ${cpu}${where}; medians of ${rounds} rounds, least and most in brackets.\n\n`
  await writeFile(document, between(await readFile(document, "utf8"), "node", note + text))
}
