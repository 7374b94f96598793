import * as Net from "node:net"
import type * as Frame from "../../../src/internal/wire/frame.js"
import { answering } from "../../support/answering.js"
import { frame, messages, upgrade } from "./attacker.js"

/** A process that floods a server from several sockets, with the smallest frames, as fast as the server reads. */
export interface Options {
  readonly port: number
  readonly path: string
  readonly sockets: number
  readonly kind: Kind
}

export type Kind = "bytes" | "frames of unknown streams" | "opens" | "opens that end at once" | "pings"

export type Question = { readonly ask: "sent" }

const { kind, path, port, sockets }: Options = JSON.parse(process.argv[2]!)

/** The number of frames in one write. */
const perWrite = 4096

const repeated = (bytes: Uint8Array): Buffer => Buffer.concat(Array.from({ length: perWrite }, () => bytes))

/** Opens with new ids, which start again after 2^31. */
const opens = (also: (id: number) => ReadonlyArray<Frame.Frame>) => {
  const makeOne = (id: number) => messages({ _tag: "Syn", id }, ...also(id))
  const { length } = makeOne(1)
  let next = 1
  const batch = repeated(makeOne(1))
  const ids = Array.from({ length: 1 + also(1).length }, (_, i) => 7 + i * 11)
  return () => {
    for (let at = 0; at < batch.length; at += length) {
      for (const offset of ids) batch.writeUInt32LE(next, at + offset)
      next = (next + 2) >>> 0
    }
    return Buffer.from(batch)
  }
}

const one = new Uint8Array(1)

const makeBatches = (): () => Buffer => {
  switch (kind) {
    case "bytes":
      return constant(repeated(messages({ _tag: "Dat", id: 1, payload: one })))
    case "frames of unknown streams":
      return constant(repeated(messages({ _tag: "Dat", id: 99, payload: one })))
    case "opens":
      return opens(() => [])
    case "opens that end at once":
      return opens((id) => [{ _tag: "Fin", id }])
    case "pings":
      return constant(repeated(frame(0x9, new Uint8Array(0))))
  }
}

const constant = (bytes: Buffer) => () => bytes

let ended = 0

/** Floods, and dials again when the server has ended the connection. */
const flood = (): void => {
  const socket = Net.connect(port, "127.0.0.1").on("error", () => {})
  const nextBatch = makeBatches()
  const pour = () => {
    while (!socket.destroyed && socket.write(nextBatch())) { /* on */ }
  }
  socket.write(upgrade({ path }))
  socket.once("data", () => {
    socket.write(messages({ _tag: "Syn", id: 1 }))
    socket.on("drain", pour).resume()
    setTimeout(pour, 50) // by then the server has accepted the stream; before, its bytes would belong to an unknown one
  })
  open.add(socket)
  socket.once("close", () => {
    open.delete(socket)
    ended += taken(socket)
    setTimeout(flood, 50)
  })
}

const open = new Set<Net.Socket>()

const taken = (socket: Net.Socket): number => socket.bytesWritten - socket.writableLength

for (let i = 0; i < sockets; i++) flood()

answering(({ ask }: Question): Promise<unknown> => {
  if (ask !== "sent") throw new Error(`asked ${ask}`)
  let bytes = ended
  for (const socket of open) bytes += taken(socket)
  const unit = makeBatches()().length / perWrite
  return Promise.resolve({ frames: bytes / unit * (kind === "opens that end at once" ? 2 : 1) })
})
