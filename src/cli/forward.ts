import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import * as Runtime from "effect/Runtime"
import type * as TcpTunnel from "../TcpTunnel.js"
import * as Monitor from "./status/monitor.js"
import * as Tcp from "./tcp.js"

/**
 * The time that a peer may take no bytes after it has ended its half. Then its connection is reset. The wire has no
 * reset, so a client that has gone looks like a client that has ended its half and reads slowly.
 */
const stallTimeout = Duration.seconds(15)

/**
 * The options of every forwarded connection. With `--admin`, the status page lists the connection. At debug level, two
 * lines for each tell the addresses of both ends, the outcome and the bytes. At other levels they would cost two fibers
 * for nothing.
 */
export const forwarding: Effect.Effect<TcpTunnel.Options> = Effect.gen(function*() {
  const minimum = yield* FiberRef.get(FiberRef.currentMinimumLogLevel)
  const monitor = yield* Monitor.Current
  const isQuiet = LogLevel.greaterThan(minimum, LogLevel.Debug)
  if (isQuiet && monitor === undefined) return { stallTimeout }
  const fork = Runtime.runFork(yield* Effect.runtime<never>())
  return {
    stallTimeout,
    onJoined: (stream, socket) => {
      const onEnd = monitor?.joined(stream, socket)
      if (isQuiet) return onEnd
      const { local, peer } = Tcp.addressesOf(socket)
      const log = (message: string) =>
        void fork(Effect.annotateLogs(Effect.logDebug(`stream ${stream.id}: ${message}`), "tcp", `${local}-${peer}`))
      log(`joined with ${peer}`)
      return (exit) => {
        onEnd?.()
        const counts = `after ${socket.bytesRead} bytes from TCP and ${socket.bytesWritten} bytes to TCP`
        if (Exit.isSuccess(exit)) log(`ended ${counts}`)
        else log(exit.cause._tag === "Fail" ? `broke ${counts}: ${exit.cause.error.message}` : `interrupted ${counts}`)
      }
    }
  }
})
