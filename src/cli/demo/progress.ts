import { Presets, SingleBar } from "cli-progress"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * Shows how far it is: a bar on a terminal, a line for each fifth elsewhere. Answers what to call for each file done.
 */
export const progress = (total: number): Effect.Effect<() => void, never, Scope.Scope> =>
  process.stdout.isTTY ? bar(total) : Effect.sync(() => lines(total))

const bar = (total: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const bar = new SingleBar(
          { format: "{bar} {value}/{total} files, {duration_formatted}" },
          Presets.shades_classic
        )
        bar.start(total, 0)
        return bar
      }),
      (bar) => Effect.sync(() => bar.stop())
    ),
    (bar) => () => bar.increment()
  )

const lines = (total: number) => {
  let done = 0
  return () => {
    done++
    if (Math.floor(done * 5 / total) > Math.floor((done - 1) * 5 / total)) console.log(`${done}/${total} files`)
  }
}
