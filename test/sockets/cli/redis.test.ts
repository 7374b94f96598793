import { describe, expect, it } from "@effect/vitest"
import * as Redis from "effect-wsmux/cli/redis"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { listening, portOf } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** A server that answers each command alike, but those of the second kind. */
const answering = (answer: string, served = /^$/) =>
  Effect.map(
    listening(Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.on("data", (data) => {
        for (const command of String(data).split(/(?=^\*)/m)) {
          socket.write(served.test(command) ? "$12\r\nredis_mode:a\r\n" : answer)
        }
      })
    })),
    portOf
  )

describe("the client of Redis", () => {
  const faults = [
    ["the password is wrong", "-WRONGPASS invalid username-password pair\r\n", ":hidden@", /^WRONGPASS/, /^$/],
    ["the server is another program", "HTTP/1.1 400 Bad Request\r\n\r\n", "", /^Protocol error/, /^$/],
    ["Redis has no such database", "-ERR DB index is out of range\r\n", "", /^ERR DB index/, /info|eval/i]
  ] as const
  for (const [title, answer, user, cause, served] of faults) {
    it.scopedLive(`a command tells the cause when ${title}`, () =>
      Effect.gen(function*() {
        const port = yield* answering(answer, served)
        const client = yield* Redis.connect(`redis://${user}127.0.0.1:${port}/99`)
        const failure = yield* Effect.flip(Effect.tryPromise({
          try: () => Promise.resolve(client.eval("return 1", [], [])),
          catch: (error) => error as Error
        }))
        expect(failure.message).toMatch(cause)
        expect(failure.message).not.toContain("hidden")
      }).pipe(within(patience, "the failure of a command")))
  }
})
