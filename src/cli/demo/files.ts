import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"

/** A file of the demonstration. */
export interface Sample {
  /** Where it is on the disk. */
  readonly path: string
  /** What it is called in a URL. */
  readonly url: string
  readonly size: number
}

/** The demonstration cannot be given, or did not go well. */
export class DemoFailure extends Data.TaggedError("DemoFailure")<{ readonly message: string }> {}

/** Files of every size below a directory: the largest few, and the rest evenly over the order of their sizes. */
export const choose = (directory: string, count: number) =>
  Effect.gen(function*() {
    const fileSystem = yield* FileSystem.FileSystem
    const { join, sep } = yield* Path.Path
    const names = yield* fileSystem.readDirectory(directory, { recursive: true }).pipe(
      Effect.mapError(() => new DemoFailure({ message: `cannot read the directory ${directory}` }))
    )
    const found = yield* Effect.forEach(names, (name) => {
      const path = join(directory, name)
      // What cannot be looked at, such as a dangling link, is no sample.
      return Effect.option(Effect.map(fileSystem.stat(path), (info): Sample | undefined =>
        info.type === "File"
          ? { path, url: `/${name.split(sep).map(encodeURIComponent).join("/")}`, size: Number(info.size) }
          : undefined))
    }, { concurrency: 32 })
    const files = found.map(Option.getOrUndefined).filter((file) => file !== undefined)
    if (files.length === 0) {
      return yield* new DemoFailure({ message: `there are no files below ${directory}: name another with --dir` })
    }
    return spread(files.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1)), count)
  })

/** The sha-256 of a file on the disk. */
export const digest = (sample: Sample) =>
  Effect.gen(function*() {
    const fileSystem = yield* FileSystem.FileSystem
    return createHash("sha256").update(yield* fileSystem.readFile(sample.path)).digest("hex")
  })

const spread = (files: ReadonlyArray<Sample>, count: number): ReadonlyArray<Sample> => {
  const largest = files.slice(0, Math.min(count, largestFiles))
  const rest = files.slice(largest.length)
  const wanted = Math.min(count - largest.length, rest.length)
  return [...largest, ...Array.from({ length: wanted }, (_, i) => rest[Math.floor(i * rest.length / wanted)]!)]
}

const largestFiles = 8
