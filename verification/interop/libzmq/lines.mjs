// The line protocol: commands on standard input, reports on standard output. The end of input ends the process.
import { createInterface } from "node:readline"

export function report(line) {
  process.stdout.write(line + "\n")
}

export const hex = (bytes) => (bytes.length === 0 ? "-" : bytes.toString("hex"))
export const bytes = (text) => (text === "-" ? Buffer.alloc(0) : Buffer.from(text, "hex"))

/** The value of `name=value` among the program's arguments, or the fallback. */
export function option(name, fallback) {
  const argument = process.argv.slice(2).find((argument) => argument.startsWith(`${name}=`))
  return argument === undefined ? fallback : argument.slice(name.length + 1)
}

/** Calls `command(words)` for each line; it may return a promise. */
export function listen(command) {
  const input = createInterface({ input: process.stdin })
  input.on("line", (line) => {
    Promise.resolve(command(line.split(" "))).catch((error) => report(`failed ${error.message}`))
  })
  input.on("close", () => process.exit(0))
}
