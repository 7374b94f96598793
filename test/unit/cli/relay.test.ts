import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { run } from "../../support/commandLine.js"

const secret = fileURLToPath(new URL("../../fixtures/cli/secret.txt", import.meta.url))

describe("wsmux relay", () => {
  it.live("wsmux relay --token-for prints a token when it has a secret alone", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["relay", "--secret-file", secret, "--token-for", "web"])
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    }))

  it.live("wsmux relay --token-for prints a client's token when a user precedes the name", () =>
    Effect.gen(function*() {
      const { stdout } = yield* run(["relay", "--secret-file", secret, "--token-for", "ada@example.com@web"])
      const claims = JSON.parse(Buffer.from(stdout.split(".")[1]!, "base64url").toString()) as unknown
      expect(claims).toMatchObject({ aud: "wsmux-relay-client", sub: "ada@example.com", tid: "web" })
    }))

  it.live("wsmux relay --token-for puts the limits that are given into a client's token", () =>
    Effect.gen(function*() {
      const claimsOf = (...limits: ReadonlyArray<string>) =>
        Effect.map(
          run(["relay", "--secret-file", secret, "--token-for", "ada@web", ...limits]),
          ({ stdout }) => JSON.parse(Buffer.from(stdout.split(".")[1]!, "base64url").toString()) as { limits: unknown }
        )
      expect(yield* claimsOf()).not.toHaveProperty("limits")
      expect((yield* claimsOf("--max-streams", "3", "--bytes-per-second", "5000")).limits).toEqual({
        maxStreams: 3,
        bytesPerSecond: 5000
      })
      expect((yield* claimsOf("--requests-per-second=7")).limits).toEqual({ requestsPerSecond: 7 })
    }))

  it.live("wsmux relay --help tells unit and default of each limit", () =>
    Effect.gen(function*() {
      const { stdout } = yield* run(["relay", "--help"])
      const help = stdout.replace(/\s+/g, " ")
      const limits = [
        "--max-agents connections Agents, clients and relays that may be connected at once; default 20000.",
        "--max-agents-per-name agents Agents that may share one name, at all relays together; default 64.",
        "--max-node-streams streams Streams that peers may have open at this relay; default 20000.",
        "--max-streams requests Requests that may run through one name at once; default 1000.",
        "--requests-per-second requests Requests for one name in a second, at all relays together; default unlimited.",
        "--bytes-per-second bytes Bytes for one name in a second, at all relays together; default unlimited."
      ]
      expect(limits.filter((line) => !help.includes(line))).toEqual([])
      expect(help).not.toContain("An integer")
    }))
})
