// One measurement of one subject, in a process of its own: so heaps, compiled code and connections are nobody else's.
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
