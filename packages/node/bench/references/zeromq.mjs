// Reference: a bare echo over npm `zeromq`'s CLIENT (draft). Answers have no id, and the only promises are those of send() and
// receive(), so this keeps the given number of messages in flight.
import { Client } from "zeromq/draft.js"

export class BareEcho {
  #socket = new Client({ linger: 0, sendHighWaterMark: 200_000, receiveHighWaterMark: 200_000 })

  constructor(endpoint) {
    this.#socket.connect(endpoint)
  }

  async request(message) {
    await this.#socket.send(message)
    return (await this.#socket.receive())[0]
  }

  /** Keeps `inFlight` messages in flight. Calls `answered` for each that returns, until it returns false. */
  async drive(payload, inFlight, answered) {
    for (let sent = 0; sent < inFlight; sent++) await this.#socket.send(payload)
    for (;;) {
      await this.#socket.receive()
      if (!answered()) return
      await this.#socket.send(payload)
    }
  }

  close() {
    this.#socket.close()
  }
}
