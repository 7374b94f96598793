import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { findProgram } from "../../support/programs.js"
import { folder } from "./forwards/commands.js"
import { run } from "./wsmux.js"

/** Words of each command that a script must know. */
const words = ["serve", "connect", "check", "doctor", "demo", "allow-remote", "websocktunnel", "token-file", "idle"]

const completionsFor = (shell: string) => Effect.map(run(["--completions", shell]), ({ stdout }) => stdout)

describe("wsmux --completions", () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    it.live(`wsmux --completions ${shell} names each command and its options`, () =>
      Effect.gen(function*() {
        const script = yield* completionsFor(shell)
        expect(words.filter((word) => !script.includes(word))).toEqual([])
      }))
    const program = findProgram(shell)
    it.live.runIf(program !== undefined)(
      `${shell} reads the script of wsmux --completions without a fault`,
      () =>
        Effect.gen(function*() {
          const path = `${yield* folder}/completions`
          writeFileSync(path, yield* completionsFor(shell))
          expect(spawnSync(program!, ["-n", path], { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" })
        }).pipe(Effect.scoped)
    )
  }

  const terminal = findProgram("script")
  it.scopedLive.runIf(terminal !== undefined)(
    "bash completes wsmux se to wsmux serve when Tab is pressed",
    () =>
      Effect.gen(function*() {
        const path = yield* folder
        writeFileSync(`${path}/completions`, yield* completionsFor("bash"))
        writeFileSync(`${path}/rc`, `wsmux() { echo "got<$*>"; }\n. ${path}/completions\n`)
        const { stdout } = spawnSync(terminal!, ["-qec", `bash --noprofile --rcfile ${path}/rc -i`, "/dev/null"], {
          encoding: "utf8",
          input: "wsmux se\t\nwsmux serve --proxy-p\t\nexit\n",
          env: { ...process.env, TERM: "dumb", SHELL: "/bin/bash" },
          timeout: 30_000
        })
        expect(stdout).toContain("got<serve>")
        expect(stdout).toContain("got<serve --proxy-protocol>")
      })
  )
})
