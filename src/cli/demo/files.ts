import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"

/** A file of the demonstration. */
export interface Sample {
  /** The path on the disk. */
  readonly path: string
  /** The path in a URL. */
  readonly url: string
  readonly size: number
}

/** The demonstration cannot start, or has found a fault. */
export class DemoFailure extends Data.TaggedError("DemoFailure")<{ readonly message: string }> {}

/** Chooses files below a directory: the largest few, and others spread evenly over the order of sizes. */
export const choose = (directory: string, count: number) =>
  Effect.gen(function*() {
    const fileSystem = yield* FileSystem.FileSystem
    const { join, sep } = yield* Path.Path
    const names = yield* fileSystem.readDirectory(directory, { recursive: true }).pipe(
      Effect.mapError(() =>
        new DemoFailure({ message: `cannot read ${directory}: the directory or one below it is not readable` })
      )
    )
    const found = yield* Effect.forEach(names, (name) => {
      const path = join(directory, name)
      // A file without status, such as a dangling link, is left out.
      return Effect.option(Effect.map(fileSystem.stat(path), (info): Sample | undefined =>
        info.type === "File"
          ? { path, url: `/${name.split(sep).map(encodeURIComponent).join("/")}`, size: Number(info.size) }
          : undefined))
    }, { concurrency: 32 })
    const files = found.map(Option.getOrUndefined).filter((file) => file !== undefined)
    if (files.length === 0) {
      return yield* new DemoFailure({
        message: `cannot choose files: ${directory} has none, so name another directory with --dir`
      })
    }
    return spread(files.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1)), count)
  })

/** Returns the SHA-256 of a file on the disk. */
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
