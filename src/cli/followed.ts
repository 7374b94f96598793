import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Hangup from "./hangup.js"

/** How often a file is looked at. A watch on a file misses editors that replace the file. */
const interval = "1 second"

/**
 * Reads a file again each second and at SIGHUP until the scope closes, and calls `use` with each content that differs
 * from the last one. `use` is never called twice at once.
 *
 * @param text the content that the caller has read
 */
export const follow = <R>(
  path: string,
  text: string,
  use: (text: string) => Effect.Effect<void, never, R>
): Effect.Effect<void, never, FileSystem.FileSystem | R | Scope.Scope> =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const turn = Effect.unsafeMakeSemaphore(1)
    const context = yield* Effect.context<R>()
    let last = text
    const reload = Effect.orElseSucceed(files.readFileString(path), () => last).pipe( // an editor may be replacing it
      Effect.flatMap((current) => {
        if (current === last) return Effect.void
        last = current
        return use(current)
      }),
      turn.withPermits(1),
      Effect.provide(context)
    )
    yield* Effect.forkScoped(Effect.repeat(Effect.delay(reload, interval), Schedule.forever))
    yield* Hangup.handle(reload)
  })
