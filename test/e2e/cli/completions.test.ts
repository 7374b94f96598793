import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { findProgram, programs } from "../../support/programs.js"
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
  const shells = {
    bash: {
      program: findProgram("bash"),
      rc: "rc",
      args: (path: string) => `--noprofile --rcfile ${path}/rc -i`,
      first: ""
    },
    zsh: { program: programs.zsh, rc: ".zshrc", args: () => "-i", first: "autoload -Uz compinit && compinit -u -D\n" }
  }
  for (const [shell, { args, first, program, rc }] of Object.entries(shells)) {
    it.scopedLive.runIf(terminal !== undefined && program !== undefined)(
      `${shell} completes commands and options of wsmux when Tab is pressed`,
      () =>
        Effect.gen(function*() {
          const path = yield* folder
          writeFileSync(`${path}/completions`, yield* completionsFor(shell))
          writeFileSync(`${path}/${rc}`, `${first}wsmux() { echo "got<$*>"; }\n. ${path}/completions\n`)
          const { stdout } = spawnSync(terminal!, ["-qec", `${program} ${args(path)}`, "/dev/null"], {
            encoding: "utf8",
            input: "wsmux se\t\nwsmux serve --proxy-p\t\nwsmux config ch\t\nexit\n",
            env: { ...process.env, TERM: "dumb", SHELL: "/bin/bash", ZDOTDIR: path },
            timeout: 30_000
          })
          for (const got of ["serve", "serve --proxy-protocol", "config check"]) expect(stdout).toContain(`got<${got}>`)
        })
    )
  }

  it.scopedLive.runIf(programs.fish !== undefined)(
    "fish completes commands and options of wsmux when asked",
    () =>
      Effect.gen(function*() {
        const path = `${yield* folder}/completions`
        writeFileSync(path, yield* completionsFor("fish"))
        const complete = (line: string) => {
          const script = `source ${path}; complete -C '${line}'`
          const { stdout } = spawnSync(programs.fish!, ["--no-config", "-c", script], { encoding: "utf8" })
          return stdout.trimEnd().split("\n").map((line) => line.split("\t")[0])
        }
        expect(complete("wsmux se")).toEqual(["serve"])
        expect(complete("wsmux serve --allow")).toEqual(["--allow", "--allow-anonymous", "--allow-remote"])
        expect(complete("wsmux config ")).toEqual(["check"])
      })
  )
})
