import { describe, expect, it } from "@effect/vitest"
import { Membership } from "effect-wsmux/relay/membership"
import { Names } from "effect-wsmux/relay/names"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { logged } from "../../support/relayNodes.js"

describe("Membership", () => {
  it.scoped("Membership warns once for each cause when the directory is away", () =>
    Effect.gen(function*() {
      const memory = yield* RelayDirectory.makeMemory
      let cause: string | undefined = "refused"
      const directory: RelayDirectory.Service = {
        ...memory,
        renew: (node, ttl) =>
          Effect.suspend(() =>
            cause === undefined
              ? memory.renew(node, ttl)
              : Effect.fail(new RelayDirectory.DirectoryFailure({ cause: new Error(cause) }))
          )
      }
      const membership = new Membership(directory, { id: "one", url: "ws://one" }, new Names(1000, "one"), 64, () => 0)
      const lines = yield* logged(Effect.gen(function*() {
        yield* membership.start(15_000, () => {})
        yield* TestClock.adjust("5 seconds")
        cause = "wrong password"
        yield* TestClock.adjust("5 seconds")
        cause = undefined
        yield* TestClock.adjust("5 seconds")
        cause = "refused"
        yield* TestClock.adjust("20 seconds")
      }))
      expect(lines).toEqual([
        "cannot ask the directory: refused",
        "cannot ask the directory: wrong password",
        "the directory of names is back",
        "cannot ask the directory: refused"
      ])
    }))
})
