import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "../../support/commandLine.js"

/** A rules file. The scope removes it. */
const file = (text: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-check-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  ).pipe(Effect.map((folder) => {
    const path = join(folder, "rules.yaml")
    writeFileSync(path, text)
    return path
  }))

const ada = "users:\n  ada: {allow: [\"127.0.0.1:5432\"], allow-remote: [\"8080\", \"udp:53\", \"*:9000\"]}\n"

describe("wsmux check", () => {
  const answers: ReadonlyArray<readonly [args: ReadonlyArray<string>, code: number]> = [
    [["ada", "127.0.0.1:5432"], 0],
    [["ada", "127.0.0.1:80"], 1],
    [["--remote", "ada", "8080"], 0],
    [["--remote", "ada", "127.0.0.1:8080"], 0],
    [["--remote", "ada", "udp:53"], 0],
    [["--remote", "ada", "*:9000"], 0],
    [["--remote", "ada", "*:8080"], 1],
    [["--remote", "ada", "8081"], 1]
  ]
  for (const [args, code] of answers) {
    it.scopedLive(`wsmux check exits with ${code} when asked for ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const result = yield* run(["check", "--rules", yield* file(ada), ...args])
        expect(result.code).toBe(code)
        expect(result.stdout).toMatch(code === 0 ? /^\S+: allowed\n/ : /^\S+: the server does not allow it\n/)
      }))
  }

  const faults: ReadonlyArray<readonly [args: ReadonlyArray<string>, complaint: RegExp]> = [
    [["adda", "db:1"], /^wsmux: user: \S+rules\.yaml has no user 'adda'; did you mean 'ada'\?\n$/],
    [["someone", "db:1"], /^wsmux: user: \S+rules\.yaml has no user 'someone'\n$/],
    [["jwt:ada", "db:1"], /^wsmux: user: \S+rules\.yaml has no jwt\n$/],
    [["ada", "db"], /^wsmux: target: expected host:port, udp:host:port, or a path\n$/],
    [["ada", "db:99999"], /^wsmux: target: expected a port from 0 to 65535, not 99999\n$/],
    [["--remote", "ada", "8080:db:80"], /^wsmux: target: expected \[bind:\]port or udp:\[bind:\]port, or a path\n$/]
  ]
  for (const [args, complaint] of faults) {
    it.scopedLive(`wsmux check exits with 2 when given: ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const result = yield* run(["check", "--rules", yield* file(ada), ...args])
        expect(result).toEqual({ code: 2, stdout: "", stderr: expect.stringMatching(complaint) })
      }))
  }

  it.scopedLive("wsmux check exits with 1, and allows nothing, when a name cannot be resolved", () =>
    Effect.gen(function*() {
      const path = yield* file("users:\n  ada: {allow: [\"*:22\"]}\n")
      expect(yield* run(["check", "--rules", path, "ada", "a..invalid:22"])).toEqual({
        code: 1,
        stdout: "",
        stderr: "wsmux: a..invalid: a rule fits, but the name cannot be resolved here, " +
          "so its addresses are not judged\n"
      })
    }))

  it.scopedLive("wsmux check knows a user by JWT when the file has no entry for the name", () =>
    Effect.gen(function*() {
      const path = yield* file("jwt: {secret: sixteen-letters-}\ndefault: {allow: [\"127.0.0.1:1\"]}\n")
      expect(yield* run(["check", "--rules", path, "jwt:ada", "127.0.0.1:1"])).toMatchObject({ code: 0 })
      expect((yield* run(["check", "--rules", path, "ada", "127.0.0.1:1"])).stderr).toContain("so give jwt:NAME")
    }))
})
