import { describe, expect, it } from "@effect/vitest"
import * as Lookup from "effect-wsmux/cli/policy/lookup"
import * as Effect from "effect/Effect"
import type { LookupAddress } from "node:dns"
import type { LookupOptions } from "node:dns"

const resolvingTo = (...addresses: ReadonlyArray<string>): Lookup.Resolve => (_, __, done) =>
  done(null, addresses.map((address): LookupAddress => ({ address, family: address.includes(":") ? 6 : 4 })))

/** The answer of the lookup: what Node's sockets get. */
const look = (resolve: Lookup.Resolve, options: LookupOptions) =>
  Effect.async<ReadonlyArray<unknown>>((resume) =>
    Lookup.make((address) => address.startsWith("10."), resolve)(
      "db",
      options,
      (...answer) => resume(Effect.succeed(answer))
    )
  )

describe("Lookup.make", () => {
  const mixed = resolvingTo("127.0.0.1", "10.0.0.1", "::1", "10.0.0.2")

  it.effect("Lookup.make passes on the allowed addresses when a name has others, too", () =>
    Effect.gen(function*() {
      const all = [{ address: "10.0.0.1", family: 4 }, { address: "10.0.0.2", family: 4 }]
      expect(yield* look(mixed, { all: true })).toEqual([null, all])
      expect(yield* look(mixed, {})).toEqual([null, "10.0.0.1", 4])
    }))

  it.effect("Lookup.make fails when no address of a name is allowed", () =>
    Effect.gen(function*() {
      const [error] = yield* look(resolvingTo("127.0.0.1", "::1"), { all: true })
      expect(error).toMatchObject({ code: "EFORBIDDEN", message: "db is at 127.0.0.1, ::1, which is not allowed" })
    }))

  it.effect("Lookup.make fails with the error of the resolver", () =>
    Effect.gen(function*() {
      const failure = Object.assign(new Error("queryA ENOTFOUND db"), { code: "ENOTFOUND" })
      const [error] = yield* look((_, __, done) => done(failure, []), {})
      expect(error).toBe(failure)
    }))
})
