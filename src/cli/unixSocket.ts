import * as Effect from "effect/Effect"
import { lstat, unlink } from "node:fs/promises"
import * as Net from "node:net"

/** The permissions that a socket of this command lacks: all but those of its owner to read and write. */
const mask = 0o177

/** Runs a step that makes a socket file, which only the own user may connect to. Node binds within the step. */
export const asOwner = (step: () => void): void => {
  const former = process.umask(mask)
  try {
    step()
  } finally {
    process.umask(former)
  }
}

/** Removes a socket without a listener, as a killed process leaves it. Fails with `failure` for everything else. */
export const removeStale = <E>(path: string, failure: E): Effect.Effect<void, E> =>
  Effect.gen(function*() {
    const status = yield* Effect.tryPromise(() => lstat(path))
    const isStale = status.isSocket() && (yield* isRefused(path))
    if (!isStale) return yield* Effect.fail(failure)
    yield* Effect.tryPromise(() => unlink(path))
  }).pipe(Effect.mapError(() => failure))

const isRefused = (path: string): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const socket = Net.connect({ path })
    const done = (refused: boolean) => {
      socket.destroy()
      resume(Effect.succeed(refused))
    }
    socket.once("connect", () => done(false))
    socket.once("error", ({ code }: NodeJS.ErrnoException) => done(code === "ECONNREFUSED"))
    return Effect.sync(() => socket.destroy())
  })
