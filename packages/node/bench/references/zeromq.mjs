// Reference: a bare echo over npm `zeromq`'s CLIENT (draft). There is nothing to tell answers apart by, and no promise but those
// of send() and receive(): so many messages are kept under way as are to be in flight.
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

  /** Keeps `inFlight` messages under way; `answered` is called for each that comes back, until it returns false. */
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
