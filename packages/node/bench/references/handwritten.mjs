// Reference: the smallest possible client in plain JavaScript. It writes ZMTP and the zraft protocol by hand over node:net and has
// a Map of promises. It has no resending, deadline, reconnecting or heartbeat, so it does less than any real client must.
//
// It is fast because all frames of a tick leave in one write from one slab, and one loop parses what was read into views.
import { connect } from "node:net"

const SLAB = 64 * 1024
const LONG = 2
const COMMAND = 4
const HEADER = [0x7a, 0x72, 0x61, 0x66, 0x74, 1] // "zraft", version 1
const CLIENT = { createSession: 1, request: 4, closeSession: 6 }
const SERVER = { sessionCreated: 1, response: 6 }
/** Signature, version, discriminator, two ids, a length; after the payload comes a timestamp. */
const REQUEST = 6 + 1 + 8 + 8 + 4
const RESPONSE = 6 + 1 + 8 + 4
const HIGH = 2 ** 32

export class HandwrittenClient {
  #socket
  #slab = Buffer.allocUnsafeSlow(SLAB)
  #from = 0
  #end = 0
  #flushing = false
  #now = 0
  #rest = undefined
  #shookHands = false
  #session = undefined
  #next = 1
  #lowest = 1
  #pending = new Map()

  /** Connects, completes the ZMTP handshake and opens a session. */
  static async connect({ host, port }) {
    const client = new HandwrittenClient()
    await new Promise((resolve, reject) => {
      client.#session = { resolve, reject }
      const socket = (client.#socket = connect({ host, port, noDelay: true }))
      socket.on("data", (bytes) => client.#read(bytes))
      socket.on("error", (error) => client.#end_(error))
      socket.on("close", () => client.#end_(new Error("closed")))
      socket.write(Buffer.concat([greeting(), ready()]))
    })
    return client
  }

  /** Sends a command. Resolves with the answer. */
  request(payload) {
    return new Promise((resolve, reject) => {
      const id = this.#next++
      this.#pending.set(id, { resolve, reject })
      this.#write(id, payload)
    })
  }

  close() {
    this.#send(Buffer.from([...HEADER, CLIENT.closeSession, 1]))
    this.#flush()
    this.#socket.end()
  }

  #write(id, payload) {
    const content = REQUEST + payload.length + 8
    const long = content > 255
    let at = this.#room((long ? 9 : 2) + content)
    const out = this.#slab
    if (long) {
      out[at] = LONG
      out.writeUInt32BE(0, at + 1)
      out.writeUInt32BE(content, at + 5)
      at += 9
    } else {
      out[at] = 0
      out[at + 1] = content
      at += 2
    }
    out[at] = 0x7a
    out[at + 1] = 0x72
    out[at + 2] = 0x61
    out[at + 3] = 0x66
    out[at + 4] = 0x74
    out[at + 5] = 1
    out[at + 6] = CLIENT.request
    at = writeId(out, id, at + 7)
    at = writeId(out, this.#lowest, at)
    out[at] = payload.length >>> 24
    out[at + 1] = payload.length >>> 16
    out[at + 2] = payload.length >>> 8
    out[at + 3] = payload.length
    out.set(payload, at + 4)
    writeId(out, this.#now, at + 4 + payload.length)
  }

  /** Reserves room for a frame in the write at the end of this tick. */
  #room(length) {
    if (!this.#flushing) {
      this.#flushing = true
      this.#now = Date.now()
      // After the microtasks, so that the continuations of all answers that came together have sent.
      process.nextTick(() => {
        this.#flushing = false
        this.#flush()
      })
    }
    if (this.#end + length > this.#slab.length) {
      this.#flush()
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB, length))
      this.#from = this.#end = 0
    }
    const at = this.#end
    this.#end += length
    return at
  }

  #send(content) {
    const at = this.#room(2 + content.length)
    this.#slab[at] = 0
    this.#slab[at + 1] = content.length
    this.#slab.set(content, at + 2)
  }

  #flush() {
    if (this.#from === this.#end) return
    this.#socket.write(this.#slab.subarray(this.#from, this.#end))
    this.#from = this.#end
  }

  #read(bytes) {
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, bytes])
      this.#rest = undefined
    }
    let at = 0
    if (!this.#shookHands) {
      if (bytes.length < 64) {
        this.#rest = bytes
        return
      }
      this.#shookHands = true
      at = 64
    }
    for (;;) {
      if (at + 2 > bytes.length) break
      const flags = bytes[at]
      let from = at + 2
      let length = bytes[at + 1]
      if (flags & LONG) {
        if (at + 9 > bytes.length) break
        length = bytes.readUInt32BE(at + 1) * HIGH + bytes.readUInt32BE(at + 5)
        from = at + 9
      }
      const end = from + length
      if (end > bytes.length) break
      if (flags & COMMAND) this.#command(bytes.subarray(from, end))
      else this.#message(bytes, from, end)
      at = end
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at)
    this.#lowestPending()
  }

  #message(bytes, from, end) {
    if (bytes[from + 6] === SERVER.response) {
      const id = bytes.readUInt32BE(from + 7) * HIGH + bytes.readUInt32BE(from + 11)
      const waiter = this.#pending.get(id)
      if (waiter === undefined) return
      this.#pending.delete(id)
      waiter.resolve(bytes.subarray(from + RESPONSE, end))
    } else if (bytes[from + 6] === SERVER.sessionCreated) {
      this.#session.resolve()
    } else {
      this.#end_(new Error(`message ${bytes[from + 6]} is not for this client`))
    }
  }

  #command(body) {
    const name = body.toString("latin1", 1, 1 + body[0])
    if (name === "READY") this.#send(createSession())
    else this.#end_(new Error(`command ${name} is not for this client`))
  }

  #lowestPending() {
    while (this.#lowest < this.#next && !this.#pending.has(this.#lowest)) this.#lowest++
  }

  #end_(error) {
    this.#session.reject(error)
    for (const waiter of this.#pending.values()) waiter.reject(error)
    this.#pending.clear()
    this.#socket.destroy()
  }
}

function writeId(out, id, at) {
  const high = Math.floor(id / HIGH)
  const low = id >>> 0
  out[at] = high >>> 24
  out[at + 1] = high >>> 16
  out[at + 2] = high >>> 8
  out[at + 3] = high
  out[at + 4] = low >>> 24
  out[at + 5] = low >>> 16
  out[at + 6] = low >>> 8
  out[at + 7] = low
  return at + 8
}

function greeting() {
  const bytes = Buffer.alloc(64)
  bytes[0] = 0xff
  bytes[8] = 1
  bytes[9] = 0x7f
  bytes[10] = 3
  bytes[11] = 1
  bytes.write("NULL", 12, "latin1")
  return bytes
}

function ready() {
  const body = Buffer.concat([short("READY"), short("Socket-Type"), Buffer.from([0, 0, 0, 6]), Buffer.from("CLIENT")])
  return Buffer.concat([Buffer.from([COMMAND, body.length]), body])
}

const short = (text) => Buffer.from([text.length, ...Buffer.from(text, "latin1")])

function createSession() {
  const text = (value) => Buffer.from([value.length >>> 8, value.length & 255, ...Buffer.from(value)])
  return Buffer.concat([
    Buffer.from([...HEADER, CLIENT.createSession, 0, 1]),
    text("application"),
    text("bench"),
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]),
  ])
}
