import * as Effect from "effect/Effect"

/** Makes waits on events of Node. Each wait polls again at every `wake`, until its poll returns an answer. */
export const makeWaits = () => {
  const watchers = new Set<() => void>()
  const wake = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  const until = <A>(poll: () => Effect.Effect<A> | undefined): Effect.Effect<A> =>
    Effect.async((resume) => {
      const watcher = () => {
        const answer = poll()
        if (answer === undefined) return
        watchers.delete(watcher)
        resume(answer)
      }
      watchers.add(watcher)
      watcher()
      return Effect.sync(() => watchers.delete(watcher))
    })
  return { wake, until }
}
