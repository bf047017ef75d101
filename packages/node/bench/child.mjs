// One measurement of one subject in its own process, so that it shares no heap, compiled code or connection with another.
//
// `node child.mjs JSON` prints what it measured as JSON.
import { execFileSync } from "node:child_process"

import * as measurements from "./load.mjs"
import { SUBJECTS } from "./subjects.mjs"

const { subject: name, endpoint, measurement, settings } = JSON.parse(process.argv[2])
const subject = SUBJECTS[name]
const connection = await subject.open(endpoint, settings.inFlight)
// The event loop's thread has the number of the process. All other threads stay where the system puts them.
if (settings.loopCore !== undefined) execFileSync("taskset", ["-p", "-c", String(settings.loopCore), String(process.pid)])
const payload = Buffer.alloc(settings.payload + (subject.overhead ?? 0), 7)
const result = await measurements[measurement](connection, { ...settings, payload })
await connection.close()
process.stdout.write(JSON.stringify(result))
