import * as Effect from "effect/Effect"
import { createWriteStream, fstatSync } from "node:fs"
import * as Net from "node:net"
import { Duplex, type Writable } from "node:stream"
import * as ByteStream from "../../ByteStream.js"
import * as NodeDuplex from "../../NodeDuplex.js"
import type * as Session from "../../Session.js"
import type { NotConnected, TerminalError } from "../../WsmuxError.js"
import * as Monitor from "../status/monitor.js"
import { type ForwardFailure, orForwardFailure } from "./failure.js"
import * as Labels from "./labels.js"
import * as Place from "./place.js"

/** Joins standard input and output with a target. Completes when both ways have ended. */
export const join = <E extends { readonly message: string }>(
  tunnel: Session.Opener<E>,
  target: Place.Place
): Effect.Effect<void, ForwardFailure | TerminalError | NotConnected<unknown>> =>
  Effect.gen(function*() {
    const stream = yield* tunnel.open({ ...Labels.toTarget(Labels.located("tcp", target)), early: true })
    yield* Monitor.forward({ option: "-W", listen: "standard input", target: Place.format(target) })
    const stdio = yield* NodeDuplex.toByteStream(() =>
      Duplex.from({ readable: process.stdin, writable: standardOutput() })
    )
    yield* ByteStream.join(stream, stdio)
  }).pipe(Effect.scoped, orForwardFailure(`-W ${Place.format(target)}`))

/**
 * Returns the standard output as a stream whose end closes the descriptor. `process.stdout` would stay open until the
 * process exits, and ssh waits for that end before it closes our input.
 */
const standardOutput = (): Writable => {
  const status = fstatSync(1)
  if (status.isFIFO() || status.isSocket()) return new Net.Socket({ fd: 1, readable: false, writable: true })
  return status.isFile() ? createWriteStream("", { fd: 1 }) : process.stdout
}
