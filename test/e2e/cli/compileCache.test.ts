import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import * as Module from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "./wsmux.js"

const help = (env: Readonly<Record<string, string>>) =>
  Effect.map(run(["--help"], { env }), ({ code, stderr }) => ({ code, stderr }))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("wsmux", () => {
  it.scopedLive("wsmux keeps compiled code in the user's cache when Node can do so", () =>
    Effect.gen(function*() {
      const path = yield* folder
      expect(yield* help({ XDG_CACHE_HOME: path })).toEqual({ code: 0, stderr: "" })
      expect(existsSync(join(path, "wsmux"))).toBe("enableCompileCache" in Module)
    }))

  it.scopedLive("wsmux keeps no compiled code when NODE_DISABLE_COMPILE_CACHE is set", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const env = { XDG_CACHE_HOME: path, NODE_DISABLE_COMPILE_CACHE: "1" }
      expect(yield* help(env)).toEqual({ code: 0, stderr: "" })
      expect(existsSync(join(path, "wsmux"))).toBe(false)
    }))

  it.live("wsmux starts without compiled code when no folder can be made for it", () =>
    Effect.gen(function*() {
      expect(yield* help({ XDG_CACHE_HOME: "/dev/null/nowhere" })).toEqual({ code: 0, stderr: "" })
    }))
})
