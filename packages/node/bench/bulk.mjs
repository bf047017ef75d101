// Compares a promise for each command with `submitCommands()`, at 1,000 commands of 64 bytes a call.
//
//     node bulk.mjs [ROUNDS]
import { clocks } from "./clocks.mjs"
import { build, start } from "./servers.mjs"
import { summary } from "./statistics.mjs"

const COMMANDS = 1000
/** Calls of a round: half a second at most. */
const CALLS = 500
const rounds = Number(process.argv[2] ?? 15)

const { RaftClient } = await import("../dist/index.mjs")
const server = await start(await build(), ["peer", "--answer", "equal"])
const client = new RaftClient({
  clusterMembers: { "node-1": server.endpoint },
  capabilities: { application: "bench" },
  maxInFlight: COMMANDS,
})
await client.connect()

const payloads = Array.from({ length: COMMANDS }, () => Buffer.alloc(64, 7))
const WAYS = {
  "a promise for each": () => Promise.all(payloads.map((payload) => client.submitCommand(payload))),
  "`submitCommands()`, all at once": () => client.submitCommands(payloads).settled(),
  "`submitCommands()`, one by one": async () => {
    for await (const { status } of client.submitCommands(payloads)) if (status === "rejected") throw new Error("a command failed")
  },
}
const rows = Object.fromEntries(Object.keys(WAYS).map((name) => [name, []]))
// The first rounds warm up.
for (let round = -3; round < rounds; round++) {
  for (const [name, call] of Object.entries(WAYS)) {
    const before = clocks()
    for (let index = 0; index < CALLS; index++) await call()
    const after = clocks()
    const each = (value) => value / (CALLS * COMMANDS)
    if (round < 0) continue
    rows[name].push([each((after.wall - before.wall) * 1000), each(after.process - before.process), each(after.loop - before.loop)])
  }
}
await client.disconnect()
await server.stop()

console.log("| way | wall, µs a command | CPU, µs a command | event loop, µs a command |\n| --- | --- | --- | --- |")
for (const [name, measured] of Object.entries(rows)) {
  const cells = [0, 1, 2].map((column) => {
    const { median, least, most } = summary(measured.map((row) => row[column]))
    return `${median.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`
  })
  console.log(`| ${name} | ${cells.join(" | ")} |`)
}
