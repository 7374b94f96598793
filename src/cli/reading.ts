import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { type ByteStream, make } from "../ByteStream.js"
import * as NodeDuplex from "../NodeDuplex.js"
import type { DuplexFailure } from "../WsmuxError.js"

/**
 * How many bytes of targets may wait in this process for clients that do not read. Near it, each read takes less, down
 * to `least`. In all that is 16 MiB, and 4 KiB for each further stream.
 */
export const budget = 16 * 1024 * 1024

const most = 64 * 1024
const least = 4 * 1024

/** How many bytes wait. */
let held = 0
export const heldBytes = (): number => held

/** How many bytes the next read may take. */
export const readSize = (held: number): number => {
  const share = Math.min(Math.floor((budget - held) / 64), most)
  return share < least ? least : share
}

/** Every read of every socket goes here; its bytes are copied out before the next read. */
const shared = Buffer.allocUnsafeSlow(most)

/**
 * A connection that is read only when it is asked for the next chunk, which is copied to its true size. So a stream
 * that waits holds that chunk alone. Node's own way of reading holds two of 64 KiB, however few bytes they are filled
 * with.
 */
export const dial = (
  options: Net.TcpNetConnectOpts,
  onSocket: (socket: Net.Socket) => void
): Effect.Effect<ByteStream<DuplexFailure>, DuplexFailure, Scope.Scope> =>
  Effect.suspend(() => {
    let next: Uint8Array | undefined
    let waiting: (() => void) | undefined
    let counted = 0
    let isGivenUp = false
    const account = (bytes: number) => {
      const waiting = isGivenUp ? 0 : bytes // a connection that is given up may still write for a while
      held += waiting - counted
      counted = waiting
    }
    const wake = () => waiting?.()

    const socket = Net.connect({
      ...options,
      onread: {
        buffer: () => shared.subarray(0, readSize(held)),
        callback: (length, buffer) => {
          next = Uint8Array.prototype.slice.call(buffer, 0, length)
          account(length)
          wake()
          return false
        }
      }
    })
    onSocket(socket)
    socket.on("end", wake).on("close", wake)

    const read = (bytes: ByteStream<DuplexFailure>): Effect.Effect<Option.Option<Uint8Array>, DuplexFailure> =>
      Effect.suspend(() => {
        account(next?.byteLength ?? 0) // the last chunk has been written
        if (next !== undefined) {
          const chunk = next
          next = undefined
          return Effect.succeed(Option.some(chunk))
        }
        if (socket.readableEnded || socket.destroyed) return bytes.read
        return Effect.zipRight(
          Effect.async<void>((resume) => {
            waiting = () => {
              waiting = undefined
              resume(Effect.void)
            }
            socket.resume()
            return Effect.sync(() => {
              waiting = undefined
            })
          }),
          read(bytes)
        )
      })

    return NodeDuplex.toByteStream(() => socket).pipe(
      Effect.tap(() =>
        Effect.addFinalizer(() =>
          Effect.sync(() => {
            isGivenUp = true
            account(0)
          })
        )
      ),
      Effect.map((bytes) => make({ read: read(bytes), write: bytes.write, end: bytes.end }))
    )
  })
