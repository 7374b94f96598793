import { expect, it } from "@effect/vitest"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { claimOf, directorySuite } from "../support/directorySuite.js"

directorySuite("memory", RelayDirectory.makeMemory)

it.effect("a directory in memory forgets a name 15 s after its last node has left it", () =>
  Effect.gen(function*() {
    const directory = yield* RelayDirectory.makeMemory
    yield* directory.renew({ id: "one", url: "ws://one" }, 60_000)
    yield* directory.claim(claimOf("left"))
    yield* directory.claim(claimOf("lost"))
    yield* directory.release(claimOf("left"))
    yield* TestClock.adjust("14 seconds")
    expect(yield* directory.find("left")).toEqual(Option.some({ epoch: 1, nodes: [] }))
    yield* TestClock.adjust("1 seconds")
    expect(yield* directory.find("left")).toEqual(Option.none())
    // for a node that died, the time counts from the first look
    yield* TestClock.adjust("50 seconds")
    expect(yield* directory.find("lost")).toEqual(Option.some({ epoch: 1, nodes: [] }))
    yield* TestClock.adjust("15 seconds")
    expect(yield* directory.find("lost")).toEqual(Option.none())
  }))
