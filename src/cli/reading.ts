import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { type ByteStream, make } from "../ByteStream.js"
import * as NodeDuplex from "../NodeDuplex.js"
import type { DuplexFailure } from "../WsmuxError.js"

/**
 * The bytes from targets that may wait in this process for slow clients. Near this limit each read takes fewer bytes,
 * down to `minReadSize`. All streams together hold 16 MiB, plus 4 KiB for each further stream.
 */
export const budget = 16 * 1024 * 1024

const maxReadSize = 64 * 1024
const minReadSize = 4 * 1024

let held = 0

/** Returns the bytes that wait in this process. */
export const heldBytes = (): number => held

/** Returns the bytes that the next read may take while `held` bytes wait. */
export const readSize = (held: number): number => {
  const share = Math.min(Math.floor((budget - held) / 64), maxReadSize)
  return Math.max(share, minReadSize)
}

/** The buffer of every read of every socket. The bytes of a read are copied before the next read. */
const shared = Buffer.allocUnsafeSlow(maxReadSize)

/**
 * Dials a connection whose socket is read only on demand. Each chunk is copied to its true size, so a stream that
 * waits holds that chunk alone. The default of Node holds two buffers of 64 KiB, even if they carry few bytes.
 */
export const dial = (
  options: Net.TcpNetConnectOpts,
  onSocket: (socket: Net.Socket) => void
): Effect.Effect<ByteStream<DuplexFailure>, DuplexFailure, Scope.Scope> =>
  Effect.suspend(() => {
    let next: Uint8Array | undefined
    let waiting: (() => void) | undefined
    let counted = 0
    let isReleased = false
    const account = (bytes: number) => {
      // After the scope has ended, a write may go on for a while. Its bytes count as released.
      const amount = isReleased ? 0 : bytes
      held += amount - counted
      counted = amount
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
        account(next?.byteLength ?? 0) // the caller has written the previous chunk
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
            isReleased = true
            account(0)
          })
        )
      ),
      Effect.map((bytes) => make({ read: read(bytes), write: bytes.write, end: bytes.end }))
    )
  })
