import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { answersHttpClient, answersPeer } from "./httpSuite.js"
import { keepsAlive, livesUnderLoad } from "./keepAliveSuite.js"
import { endsWithThePeer, failsWhenKilled } from "./lifeSuite.js"
import type { Connect } from "./links.js"
import { connectTo, ignoredBy } from "./peers.js"
import { carries, carriesEverything, halfCloses } from "./suites.js"
import { openMany } from "./traffic.js"
import { smallOpeners, windowsDiffer } from "./windowsSuite.js"
import { answersLate, closesInTime, closesSoon, fullDuplex, leavesStreams, livesOverSlowLink } from "./worstSuite.js"

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
      const wholeMatrix = (connect: Connect, peer: string) => {
        livesUnderLoad(connect, `its peer is ${peer}`, { streams: 3, bytes: 20_000, pause: 100 })
        keepsAlive(connect, peer, `its peer is ${peer}`)
        failsWhenKilled(connect, peer)
        endsWithThePeer(connect, peer, { _tag: "SessionClosed", by: "peer", code: 1000 })
        closesSoon(connect, peer)
        answersHttpClient(connect, peer, "node", 20)
        answersPeer(connect, peer)
        windowsDiffer(connect, peer, 100_000)
        // an opener of this package tells its window by HELLO, or takes what its acceptor believes
        smallOpeners(connect, peer, 100_000)
        answersLate(connect, peer)
        if (wire === "native") leavesStreams(connect, peer, "is stopped", /StreamReset|stopped/)
        else leavesStreams(connect, peer, "writes to the end", /expected '' to be/)
        closesInTime(connect, peer)
        fullDuplex(connect, peer, 256 * 1024)
        livesOverSlowLink(connect, peer, 2)
      }

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
      if (ours === "native" && theirs !== "plain") {
        // Go peers carry four windows on each of 100 streams
        carriesEverything(connect, theirs, 1.5)
        wholeMatrix(connect, theirs)
        return
      }
      for (const service of ["echo", "sink", "source"] as const) {
        carries(connect, service, 4096, 10, 40_000, theirs)
      }
    })
  }
}
