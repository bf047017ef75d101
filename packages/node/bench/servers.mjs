// The servers: `zraft-bench` of this workspace, each in its own process.
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { promisify } from "node:util"

const WORKSPACE = new URL("../../../", import.meta.url)

/** Builds the program and returns its path. */
export async function build() {
  const cargo = process.env.CARGO ?? "cargo"
  const { stdout } = await promisify(execFile)(
    cargo,
    ["build", "--release", "--locked", "--quiet", "-p", "zraft-bench", "--message-format", "json"],
    { cwd: WORKSPACE, maxBuffer: 64 * 1024 * 1024 },
  )
  for (const line of stdout.split("\n")) {
    const message = line.startsWith("{") ? JSON.parse(line) : {}
    if (message.target?.name === "zraft-bench" && message.executable) return message.executable
  }
  throw new Error("cargo built no program zraft-bench")
}

/** Starts a server, which ends with its standard input: on this core, or wherever the system puts it. */
export async function start(program, words, core) {
  const line = core === undefined ? [program, ...words] : ["taskset", "-c", String(core), program, ...words]
  const child = spawn(line[0], line.slice(1), { stdio: ["pipe", "pipe", "inherit"] })
  const ended = once(child, "close")
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([
    once(lines, "line").then(([line]) => line),
    ended.then(([code]) => Promise.reject(new Error(`zraft-bench ${words.join(" ")} ended with ${code}`))),
  ])
  return {
    endpoint: JSON.parse(first).endpoint,
    async stop() {
      child.stdin.end()
      await ended
    },
  }
}
