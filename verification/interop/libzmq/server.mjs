// A SERVER of libzmq (a draft socket) that acts as a member of a cluster, like the JeroMQ one.
//
// Arguments: `port=PORT|*`, `type=SERVER|ROUTER`, `state=FILE`. The file stands in for the replicated log: the server
// reads it at its start, and when it is told to lead.
//
// Commands: `follower ID|-`, `leader`, `mute` (answer nothing until told to lead), `drop N` (drop the next N commands),
// `push HEX` (a server request to every session), `close REASON ID|-` (SessionClosed to every bound peer), `log` (report the
// executed commands), `raw HEX` (send to every peer as it is), `echo` (from now on send every message back as it is), `hold` and
// `release` (keep the answers of commands back, and let them go).
import { randomUUID } from "node:crypto"
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { Router } from "zeromq"
import { Server } from "zeromq/draft.js"
import { bytes, hex, listen, option, report } from "./lines.mjs"

const Type = option("type", "SERVER") === "ROUTER" ? Router : Server
const socket = new Type({ linger: 10000, sendHighWaterMark: 200000, receiveHighWaterMark: 200000 })
await socket.bind(`tcp://127.0.0.1:${option("port", "*")}`)
const state = option("state")
report(`listening ${socket.lastEndpoint.split(":").pop()}`)

const sessions = new Map()
const bound = new Map()
const peers = new Set()
const log = []
let follower = false
let hint = "-"
let drop = 0
let echo = false
let mute = false
let held

const SIGNATURE = Buffer.from("zraft\x01", "latin1")
const byte = (value) => Buffer.from([value])
const int = (value) => {
  const out = Buffer.alloc(4)
  out.writeInt32BE(value)
  return out
}
const long = (value) => {
  const out = Buffer.alloc(8)
  out.writeBigInt64BE(value)
  return out
}

/** Returns one bit of presence, and the text shifted by that bit. */
function optional(id) {
  if (id === "-") return byte(0)
  const text = Buffer.from(id)
  const plain = Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), text])
  const bits = Buffer.alloc(plain.length + 1)
  bits[0] = 0x80
  plain.forEach((value, place) => {
    bits[place] |= value >> 1
    bits[place + 1] = (value << 7) & 0xff
  })
  return bits
}

// libzmq allows one send at a time.
let sending = Promise.resolve()
function send(peer, kind, ...parts) {
  sendFrame(peer, Buffer.concat([SIGNATURE, byte(kind), ...parts]))
}

function sendFrame(peer, frame) {
  sending = sending.then(() => socket.send(frame, { routingId: peer })).catch(() => {})
}

function bind(peer, id) {
  for (const [other, known] of bound) if (known === id) bound.delete(other)
  bound.set(peer, id)
}

/** Appends a line to the state, before any peer learns what it says. */
function keep(line) {
  if (state) appendFileSync(state, line + "\n")
}

/** Reads the state that an earlier process or another member wrote. */
function load() {
  if (!state || !existsSync(state)) return
  sessions.clear()
  log.length = 0
  for (const line of readFileSync(state, "utf8").split("\n").filter(Boolean)) {
    const [word, id, ...args] = line.split(" ")
    if (!sessions.has(id)) sessions.set(id, newSession())
    if (word === "applied") apply(sessions.get(id), BigInt(args[0]), BigInt(args[1]), bytes(args[2]))
    else if (word === "pushed") sessions.get(id).serverRequests += 1n
    else if (word === "closed") sessions.delete(id)
  }
}
load()

function newSession() {
  return { answers: new Map(), lowest: 0n, serverRequests: 0n }
}

function apply(session, id, lowest, payload) {
  if (lowest > session.lowest) session.lowest = lowest
  for (const known of session.answers.keys()) if (known < session.lowest) session.answers.delete(known)
  log.push(`${id}:${hex(payload)}`)
  const answer = Buffer.concat([long(BigInt(log.length)), payload])
  session.answers.set(id, answer)
  return answer
}

function request(peer, session, frame) {
  const id = frame.readBigInt64BE(7)
  const lowest = frame.readBigInt64BE(15)
  const payload = frame.subarray(27, 27 + frame.readInt32BE(23))
  if (drop > 0) {
    drop -= 1
    return report(`dropped ${id}`)
  }
  let answer = session.answers.get(id)
  if (!answer && id < session.lowest) return send(peer, 8, long(id), byte(1))
  if (!answer) {
    keep(`applied ${bound.get(peer)} ${id} ${lowest} ${hex(payload)}`)
    answer = apply(session, id, lowest, payload)
  }
  const answered = () => send(peer, 6, long(id), int(answer.length), answer)
  if (!held) return answered()
  held.push(answered)
  report(`held ${id}`)
}

function received(peer, frame) {
  peers.add(peer)
  if (echo) return sendFrame(peer, frame)
  if (mute || frame.length < 7) return
  const kind = frame[6]
  report(`received ${kind}`)
  const nonce = frame.subarray(frame.length - 8)
  if (follower) {
    if (kind === 1 || kind === 2) send(peer, 3, byte(1), nonce, optional(hint))
    else if (kind === 3 || kind === 4 || kind === 8) send(peer, 4, byte(2), optional(hint))
    return
  }
  const session = sessions.get(bound.get(peer))
  if (!session && (kind === 3 || kind === 4 || kind === 8)) return send(peer, 4, byte(3), optional("-"))
  if (kind === 1) {
    const id = randomUUID()
    sessions.set(id, newSession())
    keep(`session ${id}`)
    bind(peer, id)
    send(peer, 1, byte(id.length), Buffer.from(id), nonce)
    report("created")
  } else if (kind === 2) {
    const id = frame.subarray(8, 8 + frame[7]).toString()
    if (!sessions.has(id)) return send(peer, 3, byte(2), nonce, optional("-"))
    bind(peer, id)
    send(peer, 2, nonce)
    report("continued")
  } else if (kind === 3) {
    send(peer, 5, frame.subarray(7, 15))
  } else if (kind === 4) {
    request(peer, session, frame)
  } else if (kind === 5) {
    report(`ack ${frame.readBigInt64BE(7)}`)
  } else if (kind === 6) {
    if (session) keep(`closed ${bound.get(peer)}`)
    sessions.delete(bound.get(peer))
    bound.delete(peer)
    report("closed")
  } else if (kind === 8) {
    const correlation = frame.subarray(7, 9 + frame.readUInt16BE(7))
    const at = 7 + correlation.length
    send(peer, 9, correlation, frame.subarray(at, at + 4 + frame.readInt32BE(at)))
  }
}

listen(([word, ...args]) => {
  if (word === "follower") [follower, hint] = [true, args[0]]
  else if (word === "leader") {
    follower = false
    mute = false
    load()
  }
  else if (word === "drop") drop = Number(args[0])
  else if (word === "push") {
    for (const [peer, id] of bound) {
      const session = sessions.get(id)
      session.serverRequests += 1n
      keep(`pushed ${id}`)
      const payload = bytes(args[0])
      send(peer, 7, long(session.serverRequests), int(payload.length), payload, long(BigInt(Date.now())))
    }
  } else if (word === "close") {
    for (const peer of bound.keys()) send(peer, 4, byte(Number(args[0])), optional(args[1]))
    bound.clear()
  } else if (word === "echo") echo = true
  else if (word === "mute") mute = true
  else if (word === "hold") held = []
  else if (word === "release") {
    held.forEach((answered) => answered())
    held = undefined
  } else if (word === "log") return report(`log ${log.join(" ") || "-"}`)
  else if (word === "raw") {
    for (const peer of peers) sendFrame(peer, bytes(args[0]))
  } else return report(`unknown ${word}`)
  report(`done ${word}`)
})

for (;;) {
  const [frame, { routingId }] = await socket.receive()
  received(routingId, frame)
}
