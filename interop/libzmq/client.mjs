// A libzmq CLIENT (draft). Its argument is an endpoint. Commands: `send HEX`. It reports `received HEX`.
import { Client } from "zeromq/draft.js"
import { bytes, hex, listen, report } from "./lines.mjs"

const socket = new Client({ linger: 0, heartbeatInterval: 1000, heartbeatTimeout: 10000, heartbeatTimeToLive: 30000 })
socket.connect(process.argv[2])
report("connecting")

listen(async ([word, argument]) => {
  if (word !== "send") return report(`unknown ${word}`)
  await socket.send(bytes(argument))
  report("done send")
})

for (;;) {
  const [message] = await socket.receive()
  report(`received ${hex(message)}`)
}
