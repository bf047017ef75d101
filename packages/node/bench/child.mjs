// One measurement of one subject in its own process, so that it shares no heap, compiled code or connection with another.
//
// `node child.mjs JSON` prints what it measured as JSON.
import * as measurements from "./load.mjs"
import { SUBJECTS } from "./subjects.mjs"

const { subject: name, endpoint, measurement, settings } = JSON.parse(process.argv[2])
const subject = SUBJECTS[name]
const connection = await subject.open(endpoint, settings.inFlight)
const payload = Buffer.alloc(settings.payload + (subject.overhead ?? 0), 7)
const result = await measurements[measurement](connection, { ...settings, payload })
await connection.close()
process.stdout.write(JSON.stringify(result))
