import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pattern } from "../../support/bytes.js"
import { run, start } from "./wsmux.js"

/** A directory with files of increasing sizes from 0 bytes on. Their names need escapes in a URL. */
const makeFiles = (count: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = mkdtempSync(`${tmpdir()}/wsmux-`)
      const files = new Map(Array.from({ length: count }, (_, i) => [`${i % 7}/file ${i} & 100% <ä>.bin`, i * i * 137]))
      for (const [name, size] of files) {
        mkdirSync(dirname(join(directory, name)), { recursive: true })
        writeFileSync(join(directory, name), pattern(size, size + 1))
      }
      return { directory, files }
    }),
    ({ directory }) => Effect.sync(() => rmSync(directory, { recursive: true }))
  )

const sum = (numbers: Iterable<number>): number => Array.from(numbers).reduce((a, b) => a + b, 0)

/** The printed table as a record of row name and value. */
const table = (stdout: string): Record<string, string> =>
  Object.fromEntries(
    Array.from(stdout.matchAll(/^([a-zA-Z][\w/ ]*?) {2,}(\S.*)$/gm), ([, name, value]) => [name, value])
  )

// The scope ends a demonstration by SIGTERM, since a demonstration has child processes.
const gently = { last: "SIGTERM" } as const

describe("wsmux demo", () => {
  it.scopedLive("wsmux demo reports 0 mismatches when it fetches every file of a directory", () =>
    Effect.gen(function*() {
      const { directory, files } = yield* makeFiles(60)
      const { code, stderr, stdout } = yield* run(["demo", "--dir", directory, "--files", "100"], gently)
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(table(stdout)).toEqual({
        "files": "60",
        "bytes": sum(files.values()).toLocaleString("en-US"),
        "streams": "60",
        "MB/s": expect.stringMatching(/^\d+\.\d$/),
        "latency p50": expect.stringMatching(/^\d+ ms$/),
        "latency p99": expect.stringMatching(/^\d+ ms$/),
        "frames out": expect.stringMatching(/^[\d,]+ \([\d,]+ ACKs\)$/),
        "frames in": expect.stringMatching(/^[\d,]+ \([\d,]+ ACKs\)$/),
        "mismatches": "0"
      })
      expect(stdout).toContain("60/60 files\n")
    }))

  it.scopedLive("wsmux demo fetches the largest files when --files is less than their number", () =>
    Effect.gen(function*() {
      const { directory, files } = yield* makeFiles(30)
      const { code, stdout } = yield* run(["demo", "--dir", directory, "--files", "8"], gently)
      const largest = Array.from(files.values()).sort((a, b) => b - a).slice(0, 8)
      const { bytes, files: fetched, mismatches } = table(stdout)
      expect({ code, bytes, fetched, mismatches }).toEqual({
        code: 0,
        bytes: sum(largest).toLocaleString("en-US"),
        fetched: "8",
        mismatches: "0"
      })
    }))

  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    it.scopedLive(`wsmux demo --keep ends with all its processes when ${signal} comes`, () =>
      Effect.gen(function*() {
        const { directory, files } = yield* makeFiles(12)
        const demo = yield* start(["demo", "--dir", directory, "--keep"], gently)
        const [, address] = yield* demo.awaitLine(/^open (http:\/\/127\.0\.0\.1:\d+\/) - Ctrl-C ends it$/)

        const page = yield* fetchText(address!)
        const links = Array.from(page.matchAll(/href="([^"]+)"/g), ([, link]) => link!)
        expect(links.map((link) => decodeURIComponent(link.slice(1))).sort()).toEqual(Array.from(files.keys()).sort())
        const digests = yield* Effect.forEach(links, (link) => fetchDigest(new URL(link, address).href))
        expect(digests).toEqual(links.map((link) => {
          const size = files.get(decodeURIComponent(link.slice(1)))!
          return digest(pattern(size, size + 1))
        }))

        yield* demo.signal(signal)
        // The child processes share its outputs, so `exit` completes after the last of them has ended.
        const code = yield* demo.exit
        if (signal !== "SIGKILL") expect([code, demo.stderr()]).toEqual([0, ""])
        expect(yield* Effect.promise(() => fetch(address!).then(() => "answers", () => "gone"))).toBe("gone")
      }))
  }
})

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const fetchText = (url: string) => Effect.promise(() => fetch(url).then((response) => response.text()))

const fetchDigest = (url: string) =>
  Effect.promise(() => fetch(url).then((response) => response.arrayBuffer())).pipe(
    Effect.map((body) => digest(new Uint8Array(body)))
  )
