import { Duplex } from "node:stream"

/** Two duplexes in memory. A write to one completes when the other has been read. */
export const duplexPair = (): readonly [Duplex, Duplex] => {
  const make = (other: () => { push: (chunk: Buffer | null) => boolean; taken?: (() => void) | undefined }) => {
    const duplex: Duplex & { taken?: (() => void) | undefined } = new Duplex({
      read() {
        const { taken } = duplex
        duplex.taken = undefined
        taken?.()
      },
      write(chunk: Buffer, _encoding, callback) {
        const peer = other()
        if (peer.push(chunk)) callback()
        else peer.taken = callback
      },
      final(callback) {
        other().push(null)
        callback()
      }
    })
    return duplex
  }
  const near: Duplex = make(() => far)
  const far: Duplex = make(() => near)
  return [near, far]
}
