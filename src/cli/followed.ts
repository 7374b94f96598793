import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Hangup from "./hangup.js"

/** How often a file is looked at. A watch on a file misses editors that replace the file. */
const interval = "1 second"

/** How long a file must stay as it is before its content counts. Editors empty or remove files before they write. */
const settling = "250 millis"

/** A file that changes all the time counts as it is after so many looks, which take 10 s. */
const maxLooks = 40

/**
 * Reads a file again each second and at SIGHUP until the scope closes, and calls `use` with each content that differs
 * from the last one. `use` is never called twice at once. At SIGHUP the content counts at once. A file that cannot be
 * read any more is logged once, and changes nothing.
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
    let isMissing = false
    const read = Effect.orElseSucceed(files.readFileString(path), () => undefined)
    const take = (current: string | undefined) => {
      if (current === undefined) {
        if (isMissing) return Effect.void
        isMissing = true
        return Effect.logWarning(`${path} cannot be read any more; its last content stays in force`)
      }
      const isBack = isMissing
      isMissing = false
      if (current === last) return isBack ? Effect.logInfo(`${path} can be read again, and is unchanged`) : Effect.void
      last = current
      return use(current)
    }
    const inTurn = (content: Effect.Effect<string | undefined>) =>
      Effect.flatMap(content, take).pipe(turn.withPermits(1), Effect.provide(context))
    const look = Effect.gen(function*() {
      let current = yield* read
      if (current === (isMissing ? undefined : last)) return
      let before: string | undefined | null = null
      for (let looks = 0; current !== before && looks < maxLooks; looks++) {
        before = current
        yield* Effect.sleep(settling)
        current = yield* read
      }
      yield* inTurn(Effect.succeed(current))
    })
    yield* Effect.forkScoped(Effect.repeat(Effect.delay(look, interval), Schedule.forever))
    yield* Hangup.handle(inTurn(read))
  })
