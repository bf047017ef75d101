// The subjects. Each opens a connection and returns a request function, which takes a payload and returns a promise of the
// answer.
import { HandwrittenClient } from "./references/handwritten.mjs"
import { Promises } from "./references/promises.mjs"

export const SUBJECTS = {
  "zraft-client": {
    about: "this package",
    server: ["peer", "--answer", "equal"],
    async open(endpoint, inFlight) {
      const { RaftClient } = await import("../dist/index.mjs")
      const client = new RaftClient({
        clusterMembers: { "node-1": endpoint },
        capabilities: { application: "bench" },
        maxInFlight: inFlight,
      })
      await client.connect()
      return { request: (payload) => client.submitCommand(payload), close: () => client.disconnect() }
    },
  },
  "hand-written": {
    about: "a minimal client in plain JavaScript",
    server: ["peer", "--answer", "equal"],
    async open(endpoint) {
      const { hostname, port } = new URL(endpoint)
      const client = await HandwrittenClient.connect({ host: hostname, port: Number(port) })
      return { request: (payload) => client.request(payload), close: () => client.close() }
    },
  },
  zeromq: {
    about: "a bare echo over npm zeromq's CLIENT",
    server: ["echo", "--kind", "zmtp"],
    // Makes the frame as long as that of a command.
    overhead: 35,
    async open(endpoint) {
      // Loaded only if it is used, since its draft sockets print a warning.
      const { BareEcho } = await import("./references/zeromq.mjs")
      return new BareEcho(endpoint)
    },
  },
  promises: {
    about: "no client: the callers and their promises alone",
    server: ["peer"],
    only: "throughput",
    async open() {
      return new Promises(Buffer.alloc(80, 7))
    },
  },
}
