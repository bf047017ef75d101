// The options of a run of the benchmark.
import { parseArgs } from "node:util"

const HELP = `Compares the Node package with its references, in interleaved rounds.

npm run bench -- [options]

  --quick           the short form: fewer rounds and levels, seconds instead of minutes
  --rounds N        interleaved rounds (7; short form 3)
  --levels A,B,...  requests in flight (1,16,64,256,1024,10000; short form 1,256,1024)
  --subjects A,...  zraft-client,hand-written,zeromq,promises
  --only A,...      load,idle,memory
  --payload N       bytes of a request (64)
  --place           each server on the last core, each event loop on the first (Linux, taskset)
  --json FILE       the file for the results (results/latest.json)
  --write           also updates BENCHMARKS.md and results/node.json`

const FULL = { rounds: 7, levels: [1, 16, 64, 256, 1024, 10_000], warmUp: 500, time: 1000, idle: 3000, memory: { warmUp: 10_000, time: 60_000 } }
const QUICK = { rounds: 3, levels: [1, 256, 1024], warmUp: 300, time: 500, idle: 1500, memory: { warmUp: 3000, time: 5000 } }
const PARTS = ["load", "idle", "memory"]

export function options(subjects) {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      levels: { type: "string" },
      subjects: { type: "string" },
      only: { type: "string" },
      payload: { type: "string", default: "64" },
      place: { type: "boolean", default: false },
      json: { type: "string" },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  })
  if (values.help) {
    console.log(HELP)
    process.exit(0)
  }
  const form = values.quick ? QUICK : FULL
  return {
    ...form,
    form: values.quick ? "quick" : "full",
    rounds: values.rounds === undefined ? form.rounds : whole("rounds", values.rounds),
    levels: values.levels?.split(",").map((level) => whole("levels", level)) ?? form.levels,
    subjects: values.subjects === undefined ? subjects : some("subjects", values.subjects, subjects),
    parts: some("only", values.only, PARTS),
    payload: whole("payload", values.payload),
    place: values.place,
    json: values.json,
    write: values.write,
  }
}

function whole(name, text) {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name}: '${text}' is not a whole number of at least 1`)
  return number
}

function some(name, text, all) {
  if (text === undefined) return all
  const chosen = text.split(",")
  const unknown = chosen.find((each) => !all.includes(each))
  if (unknown !== undefined) throw new Error(`--${name}: '${unknown}' is not one of ${all.join(", ")}`)
  return chosen
}
