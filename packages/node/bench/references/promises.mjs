// No client at all: what callers and their promises cost by themselves. Answers come in the next turn of the event loop, all at
// once, and are always the same. Whatever a client does comes on top of this.
export class Promises {
  #waiting = []
  #answer

  constructor(answer) {
    this.#answer = answer
  }

  request() {
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(() => this.#tell())
    })
  }

  #tell() {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve(this.#answer)
  }

  close() {}
}
