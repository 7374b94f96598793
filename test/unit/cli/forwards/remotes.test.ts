import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import { features, Label } from "effect-wsmux/cli/forwards/labels"
import { Remotes } from "effect-wsmux/cli/forwards/remotes"
import * as Spec from "effect-wsmux/cli/forwards/spec"
import type * as Session from "effect-wsmux/Session"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { bytes } from "../../../support/bytes.js"
import { quietly, start } from "../../../support/observe.js"
import { makeSessions, settle } from "../../../support/sessions.js"

const context = { keepAlive: Duration.infinity, url: () => "ws://server", proxyProtocol: false }

const forward = Option.getOrThrow(Spec.parse("remote", "80:db:1"))

/** A session whose server notes and takes each listener, or refuses it. */
const makeServed = (refuses = false) =>
  Effect.gen(function*() {
    const { client, server } = yield* makeSessions(quietly())
    const asked: Array<string> = []
    const serve = (session: Session.Session) =>
      session.run((stream) =>
        Effect.gen(function*() {
          if (stream.label === Label.about) return yield* ByteStream.writeEnd(stream, features)
          if (refuses) return yield* stream.reset({ code: 300 })
          if (stream.label === Label.listen) asked.push(stream.metadata.bind!)
          yield* stream.write(bytes("127.0.0.1:80\n"))
          yield* ByteStream.forEach(stream, () => {}) // until the client ends the listener
        })
      )
    yield* Effect.forkScoped(serve(server))
    yield* settle
    return { asked, client, server }
  })

describe("Remotes", () => {
  it.scoped("Remotes asks the next session for a new forward when the last one drains", () =>
    Effect.gen(function*() {
      const [old, next] = [yield* makeServed(), yield* makeServed()]
      const remotes = new Remotes(yield* Effect.scope, context)
      yield* remotes.prepare(old.client, undefined)
      yield* old.client.open({ label: "runs" })
      yield* start(old.server.drain({ grace: "1 hour" }))
      yield* remotes.prepare(next.client, undefined)
      yield* remotes.add("a", forward, "-R 80:db:1")
      expect([old.asked, next.asked]).toEqual([[], ["tcp 127.0.0.1:80"]])
      expect(remotes.keys).toEqual(["a"])
    }))

  it.scoped("Remotes wants a new forward no more when one of its sessions refuses", () =>
    Effect.gen(function*() {
      const [takes, refuses] = [yield* makeServed(), yield* makeServed(true)]
      const remotes = new Remotes(yield* Effect.scope, context)
      yield* remotes.prepare(takes.client, undefined)
      yield* remotes.prepare(refuses.client, undefined)
      expect(yield* Effect.flip(remotes.add("a", forward, "-R 80:db:1"))).toMatchObject({ _tag: "ForwardFailure" })
      expect(remotes.keys).toEqual([])
    }))
})
