import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { connectTo, ignoredBy } from "./peers.js"
import { carries, carriesEverything, halfCloses } from "./suites.js"
import { openMany } from "./traffic.js"

// Every pair of versions and settings of this package, in both roles. The suites with Go peers hold the other pairs.
const pairs = [
  ["native", "native", "native"],
  ["native", "plain", "plain"],
  ["plain", "native", "plain"],
  ["required", "native", "native"],
  ["native", "0.1.0", "plain"],
  ["plain", "0.1.0", "plain"]
] as const

for (const [ours, theirs, wire] of pairs) {
  for (const role of ["client", "server"] as const) {
    const connect = connectTo(ours, role, theirs)
    describe(`a ${ours} ${role} with a ${theirs} peer`, () => {
      it.scopedLive(`Session as ${role}, ${ours}, speaks the ${wire} wire when its peer is ${theirs}`, () =>
        Effect.gen(function*() {
          const { peer, session } = yield* connect({}, { serve: "echo" })
          yield* openMany(session, "echo", 1, 10)
          const { counters, dialect } = yield* session.snapshot
          expect(dialect.state).toBe(wire)
          expect(counters.framesOut.record > 0).toBe(ours !== "plain")
          expect((yield* peer.snapshot).closed).toBe(false)
        }))

      const ignored = ours !== "plain" && wire === "plain" ? 1 : 0
      it.scopedLive(`Session as ${role}, ${ours}, has ${ignored} messages ignored when its peer is ${theirs}`, () =>
        Effect.gen(function*() {
          const { peer, session } = yield* connect({}, { serve: "sink" })
          yield* session.open() // the answer to the open follows all that the session sent before
          expect(yield* ignoredBy(peer)).toBe(ignored)
        }))

      halfCloses(connect, theirs)
      if (ours === "native" && theirs !== "plain") return carriesEverything(connect, theirs)
      for (const service of ["echo", "sink", "source"] as const) {
        carries(connect, service, 4096, 10, 40_000, theirs)
      }
    })
  }
}
