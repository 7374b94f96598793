import { readSync } from "node:fs"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"

/** The time in milliseconds that written bytes get to reach the kernel before a connection is reset. */
const drainTimeout = 1000

const isTcp = (duplex: Duplex): duplex is Net.Socket =>
  duplex instanceof Net.Socket && !(duplex instanceof TLSSocket) && "resetAndDestroy" in duplex

/**
 * The error of a TCP connection that was reset, at the moment of its socket's `end` event. Undefined for a true end,
 * and where the cause of the end is unknown.
 *
 * Node 20 and 22 emit `end` when one poll finds both bytes and a reset: libuv reports an end, and leaves the error with
 * the socket. A read of the descriptor returns that error. The read takes no bytes, since none are left.
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
    // EAGAIN means a socket without bytes. EBADF means a descriptor that Node has closed.
    return cause.code === "EAGAIN" || cause.code === "EBADF" ? undefined : Object.assign(cause, { syscall: "read" })
  }
}

/**
 * Destroys a duplex that has not ended both ways. A TCP connection is reset, so that its peer sees a loss instead of an
 * end. With `drain`, written bytes first get `drainTimeout` to reach the kernel, since a reset discards the bytes that
 * have not. Node does not know how many bytes the kernel has yet to send. Calls `done` once the duplex is destroyed.
 */
export const reset = (duplex: Duplex, drain: boolean, done: () => void): void => {
  if (duplex.destroyed) return done()
  if (!isTcp(duplex) || duplex.connecting) {
    duplex.destroy()
    return done()
  }
  if (!drain || (duplex.writableEnded ? duplex.writableFinished : duplex.writableLength === 0)) {
    resetNow(duplex)
    return done()
  }
  const now = () => {
    clearTimeout(timer)
    duplex.off("close", now).off("finish", now)
    if (!duplex.destroyed) resetNow(duplex)
    done()
  }
  const timer = setTimeout(now, drainTimeout)
  duplex.once("close", now)
  if (duplex.writableEnded) duplex.once("finish", now)
  else duplex.write("", () => now())
}

/** A socket whose FIN is about to leave cannot be reset: Node answers EINVAL, and keeps the descriptor. */
const resetNow = (socket: Net.Socket): void => {
  try {
    if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.destroy()
    else socket.resetAndDestroy()
  } catch { // a Unix socket
    socket.destroy()
  }
}
