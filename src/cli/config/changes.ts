import * as Effect from "effect/Effect"
import type { Config } from "./file.js"

/** Logs that a file was read again, and which of its changes need a restart. */
export const tell = (path: string, before: Config, after: Config, changing: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) =>
      !changing.includes(name) && JSON.stringify(before[name]) !== JSON.stringify(after[name])
    )
    yield* Effect.logInfo(`read ${path} again`)
    if (names.length > 0) yield* Effect.logWarning(`${path}: ${names.join(", ")}: changed at a restart only`)
  })
