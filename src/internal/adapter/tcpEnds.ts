import * as Effect from "effect/Effect"
import { readSync } from "node:fs"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"

/** How long bytes that were handed over may take to reach the kernel before a connection is reset. */
const patience = 1000

const isTcp = (duplex: Duplex): duplex is Net.Socket =>
  duplex instanceof Net.Socket && !(duplex instanceof TLSSocket) && "resetAndDestroy" in duplex

/**
 * Why the `end` of a TCP socket, at the moment of that event, is the end of a reset connection; undefined for a true end, and
 * where that cannot be known.
 *
 * Node 20 and 22 tell a clean end when their poll finds bytes and a reset together: libuv makes one up and leaves the error
 * with the socket. A read of the descriptor tells the truth. It takes nothing away: there is nothing more to read.
 */
export const lossAtEnd = (duplex: Duplex): Error | undefined => {
  if (!isTcp(duplex)) return undefined
  const fd = (duplex as { readonly _handle?: { readonly fd?: unknown } | null })._handle?.fd
  if (typeof fd !== "number" || fd < 0) return undefined
  try {
    readSync(fd, Buffer.allocUnsafe(1))
    return undefined
  } catch (error) {
    const cause = error as NodeJS.ErrnoException
    // Nothing to read yet is no news; a descriptor that Node has closed belongs to another connection, or to none.
    return cause.code === "EAGAIN" || cause.code === "EBADF" ? undefined : Object.assign(cause, { syscall: "read" })
  }
}

/**
 * Destroys what has not come to its end both ways, and resets a TCP connection, so that its peer does not take the loss for
 * an end. With `drain`, bytes that were written before get some time to reach the kernel: a reset overtakes those that have
 * not. How many the kernel has yet to send is unknown to Node.
 */
export const reset = (duplex: Duplex, drain: boolean): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (duplex.destroyed) return resume(Effect.void)
    if (!isTcp(duplex) || duplex.connecting) {
      duplex.destroy()
      return resume(Effect.void)
    }
    const now = () => {
      clearTimeout(timer)
      duplex.off("close", now).off("finish", now)
      resume(Effect.void)
      if (!duplex.destroyed) resetNow(duplex)
    }
    const timer = setTimeout(now, patience)
    if (!drain || (duplex.writableEnded ? duplex.writableFinished : duplex.writableLength === 0)) return now()
    duplex.once("close", now)
    if (duplex.writableEnded) duplex.once("finish", now)
    else duplex.write("", () => now())
  })

/** A FIN that is about to leave cannot be taken back: Node answers EINVAL, and keeps the descriptor. */
const resetNow = (socket: Net.Socket): void => {
  try {
    if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.destroy()
    else socket.resetAndDestroy()
  } catch { // the socket of a path
    socket.destroy()
  }
}
