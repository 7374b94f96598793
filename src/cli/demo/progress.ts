import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Shows the progress: a bar on a terminal, a line for each fifth elsewhere. Returns the function to call per file. */
export const progress = (total: number): Effect.Effect<() => void, never, Scope.Scope> =>
  process.stdout.isTTY ? bar(total) : Effect.sync(() => lines(total))

const bar = (total: number) =>
  Effect.acquireRelease(Effect.sync(() => performance.now()), () => Effect.sync(() => process.stdout.write("\n"))).pipe(
    Effect.map((startedAt) => {
      let done = 0
      const draw = () => {
        const seconds = Math.round((performance.now() - startedAt) / 1000)
        process.stdout.write(`\r${barText(done, total)}, ${seconds} s`)
      }
      draw()
      return () => {
        done++
        draw()
      }
    })
  )

const barWidth = 40

/** The bar with its numbers. */
export const barText = (done: number, total: number): string => {
  const filled = Math.floor(done * barWidth / total)
  return `${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${done}/${total} files`
}

const lines = (total: number) => {
  let done = 0
  return () => {
    done++
    if (Math.floor(done * 5 / total) > Math.floor((done - 1) * 5 / total)) console.log(`${done}/${total} files`)
  }
}
