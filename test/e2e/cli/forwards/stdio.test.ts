import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { pattern, text } from "../../../support/bytes.js"
import { within } from "../../../support/within.js"
import * as Tcp from "../tcp.js"
import { makeWaits } from "../waits.js"
import { run } from "../wsmux.js"
import { echoAt, folder, serveWith } from "./commands.js"

const bin = fileURLToPath(new URL("../../../../dist/cli/bin.js", import.meta.url))

/** Starts `wsmux connect -W` with pipes as its standard input and output. */
const start = (url: string, target: string) =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [bin, "connect", url, "-W", target], { stdio: "pipe" })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const { until, wake } = makeWaits()
    const chunks: Array<Buffer> = []
    let stderr = ""
    let hasEnded = false
    let code: number | null | undefined
    child.stdout.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      wake()
    })
    child.stdout.on("end", () => {
      hasEnded = true
      wake()
    })
    child.stderr.on("data", (chunk: Buffer) => stderr += chunk.toString())
    child.on("exit", (exitCode) => {
      code = exitCode
      wake()
    })
    const output = () => Buffer.concat(chunks)
    return {
      input: child.stdin,
      output,
      stderr: () => stderr,
      received: (length: number) =>
        until(() => output().length >= length ? Effect.succeed(output()) : undefined).pipe(
          within("60 seconds", `${length} bytes of standard output`)
        ),
      end: until(() => hasEnded ? Effect.void : undefined).pipe(within("60 seconds", "the end of standard output")),
      exit: until(() => code === undefined ? undefined : Effect.succeed(code)).pipe(within("60 seconds", "the exit"))
    }
  })

describe("wsmux connect -W", () => {
  it.scopedLive("wsmux connect carries all bytes both ways when a target answers after the end", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { url } = yield* serveWith(["--allow", `127.0.0.1:${target.port}`])
      const wsmux = yield* start(url, `127.0.0.1:${target.port}`)
      const [up, down] = [pattern(3_000_000), pattern(2_000_000, 2)]
      wsmux.input.end(up)
      const far = yield* target.accept
      const { bytes, how } = yield* far.over
      expect([how, Buffer.compare(bytes, up)]).toEqual(["end", 0])
      yield* Effect.zipRight(far.write(down), far.end)
      expect(yield* wsmux.exit).toBe(0)
      yield* wsmux.end
      expect([Buffer.compare(wsmux.output(), down), wsmux.stderr()]).toEqual([0, ""])
    }))

  it.scopedLive("wsmux connect ends its output when the target ends, and exits when its input ends", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { url } = yield* serveWith(["--allow", `127.0.0.1:${target.port}`])
      const wsmux = yield* start(url, `127.0.0.1:${target.port}`)
      const far = yield* target.accept
      yield* far.write("banner")
      expect(text(yield* wsmux.received(6))).toBe("banner")
      yield* far.end
      yield* wsmux.end
      wsmux.input.end("bye")
      expect(text((yield* far.over).bytes)).toBe("bye")
      expect(yield* wsmux.exit).toBe(0)
    }))

  it.scopedLive("wsmux connect joins its input and output with a unix socket when -W names a path", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/target.sock`
      yield* echoAt(path)
      const { url } = yield* serveWith(["--allow", path])
      const wsmux = yield* start(url, path)
      wsmux.input.end("hello")
      expect(yield* wsmux.exit).toBe(0)
      expect([wsmux.output().toString(), wsmux.stderr()]).toEqual(["hello", ""])
    }))

  it.scopedLive("wsmux connect exits with 1 and one line when the target is reset or refused", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--allow", "127.0.0.1:1"])
      const failures = {
        "127.0.0.1:2": "the server does not allow it",
        "127.0.0.1:1": "the target refused the connection"
      }
      for (const [target, reason] of Object.entries(failures)) {
        expect(yield* run(["connect", url, "-W", target])).toEqual({
          code: 1,
          stdout: "",
          stderr: `wsmux: cannot forward -W ${target}: ${reason}\n`
        })
      }
    }))

  it.live("wsmux connect exits with 2 when -W is given beside another forward", () =>
    Effect.gen(function*() {
      const complaint = "-W: expected no other forward and no --stats beside it, since the output is the target's"
      const { code, stderr } = yield* run(["connect", "ws://127.0.0.1:1", "-W", "db:22", "-D", "0"])
      expect({ code, stderr }).toEqual({ code: 2, stderr: `wsmux: ${complaint}\n` })
    }))
})
