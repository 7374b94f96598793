import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"

/** The variable by which systemd names the socket for the states of a service. */
export const socketVariable = "NOTIFY_SOCKET"

/** The messages that have not been sent yet, in their order. */
let sending: Promise<unknown> = Promise.resolve()

/**
 * Tells systemd the state of a service of `Type=notify`. Does nothing outside of such a service.
 *
 * Node has no datagram sockets in the unix domain, and an addon in C could not be part of the bundle. Hence the program
 * `systemd-notify` sends the message, which comes with systemd and knows abstract sockets. Its process is not that of
 * the service, so the unit needs `NotifyAccess=all`.
 */
const notify = (...states: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (process.env[socketVariable] === undefined) return Effect.void
    const sent = sending.then(() => send(states))
    sending = sent
    return Effect.asVoid(Effect.forkDaemon(Effect.flatMap(
      Effect.promise(() => sent),
      (fault) => fault === undefined ? Effect.void : Effect.logWarning(`cannot tell systemd ${states[0]}: ${fault}`)
    )))
  })

/** Completes with the fault, if there is one. */
const send = (states: ReadonlyArray<string>): Promise<string | undefined> =>
  new Promise((resolve) =>
    execFile(
      "systemd-notify",
      states,
      { timeout: 10_000 },
      (error) =>
        resolve(error === null ? undefined : error.code === "ENOENT" ? "systemd-notify is missing" : error.message)
    )
  )

/** Completes when no message is on its way. The exit of the process would drop those that wait for their turn. */
export const sent = (): Promise<unknown> => sending

/** Tells systemd that the command does its work. */
export const ready: Effect.Effect<void> = notify("READY=1")

/** Tells systemd that the command ends. */
export const stopping: Effect.Effect<void> = notify("STOPPING=1")

/** Tells systemd when files are read again, and when that is done. */
export const reloading = <A, E, R>(reload: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const begins = Effect.suspend(() => notify("RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`))
  return Effect.zipLeft(Effect.zipRight(begins, reload), ready)
}
