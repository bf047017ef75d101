// A CLIENT of libzmq, a draft socket.
//
// Arguments: `endpoint=ENDPOINT`, `type=CLIENT|DEALER`, and the heartbeat's `interval=`, `timeout=` and `ttl=` in milliseconds, by
// default those of the live client.
//
// Commands: `send HEX`. It reports `received HEX`.
import { Dealer } from "zeromq"
import { Client } from "zeromq/draft.js"
import { bytes, hex, listen, option, report } from "./lines.mjs"

const Type = option("type", "CLIENT") === "DEALER" ? Dealer : Client
const socket = new Type({
  linger: 0,
  sendHighWaterMark: 200000,
  receiveHighWaterMark: 200000,
  heartbeatInterval: Number(option("interval", "1000")),
  heartbeatTimeout: Number(option("timeout", "10000")),
  heartbeatTimeToLive: Number(option("ttl", "30000")),
})
socket.connect(option("endpoint"))
report("connecting")

// libzmq allows one send at a time.
let sending = Promise.resolve()
listen(([word, argument]) => {
  if (word !== "send") return report(`unknown ${word}`)
  sending = sending.then(() => socket.send(bytes(argument)))
  return sending.then(() => report("done send"))
})

for (;;) {
  const [message] = await socket.receive()
  report(`received ${hex(message)}`)
}
