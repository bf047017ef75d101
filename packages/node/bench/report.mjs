// The results as tables in Markdown.
import { summary } from "./statistics.mjs"

const number = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })

const spread = (values, digits) => {
  const { median, least, most } = summary(values)
  return `${number(median, digits)} (${number(least, digits)}–${number(most, digits)})`
}

function table(heads, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n")
}

const figure = (rounds, name) => rounds.map((round) => round[name])

export function report({ load, sequential, idle, memory, verdict }) {
  const parts = []
  if (sequential.length > 0) {
    parts.push(
      "One request after the other, microseconds:",
      table(
        ["subject", "p50", "p99"],
        sequential.map(({ subject, rounds }) => [subject, spread(figure(rounds, "p50"), 1), spread(figure(rounds, "p99"), 0)]),
      ),
    )
  }
  if (load.length > 0) {
    parts.push(
      "With many in flight; microseconds of CPU per request, of the process and of the event loop's thread alone:",
      table(
        ["in flight", "subject", "requests/s", "process", "event loop"],
        load.map(({ inFlight, subject, rounds }) => [
          number(inFlight, 0),
          subject,
          spread(figure(rounds, "rate"), 0),
          spread(figure(rounds, "cpu"), 2),
          spread(figure(rounds, "loop"), 2),
        ]),
      ),
    )
  }
  if (idle.length > 0) {
    parts.push(
      "An open connection without traffic, percent of a core:",
      table(
        ["subject", "process", "event loop"],
        idle.map(({ subject, rounds }) => [subject, spread(figure(rounds, "cpu"), 2), spread(figure(rounds, "loop"), 2)]),
      ),
    )
  }
  if (memory.length > 0) {
    const { warmUp, time, inFlight } = memory[0].settings
    parts.push(
      `Resident memory under load (${number(inFlight, 0)} in flight), MB:`,
      table(
        ["subject", `after ${warmUp / 1000} s`, `after ${time / 1000} s more`, "at most", "requests"],
        memory.map(({ subject, result }) => [
          subject,
          number(result.warm, 1),
          number(result.end, 1),
          number(result.most, 1),
          number(result.requests, 0),
        ]),
      ),
    )
  }
  if (verdict.length > 0) {
    const limit = (row, value) => (value === undefined ? "" : `${row.direction} ${value}${row.unit && ` ${row.unit}`}`)
    const tick = (holds) => (holds === undefined ? "" : holds ? "yes" : "**no**")
    parts.push(
      "What must hold, and what is aimed at; ratios are made within each round:",
      table(
        ["what", "median (least–most)", "must", "holds", "goal", "reached"],
        verdict.map((row) => [
          row.what,
          `${number(row.value.median, 2)} (${number(row.value.least, 2)}–${number(row.value.most, 2)})`,
          limit(row, row.must),
          tick(row.mustHolds),
          limit(row, row.goal),
          tick(row.goalHolds),
        ]),
      ),
    )
  }
  return parts.join("\n\n") + "\n"
}

/** Returns the document with this text between its marks. */
export function between(document, mark, text) {
  const [begin, end] = [`<!-- ${mark}:begin -->`, `<!-- ${mark}:end -->`]
  const [from, to] = [document.indexOf(begin), document.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the document has no ${begin} … ${end}`)
  return `${document.slice(0, from + begin.length)}\n${text}${document.slice(to)}`
}
