import { describe, expect, it } from "@effect/vitest"
import { Holders } from "effect-wsmux/cli/forwards/away"
import * as Codes from "effect-wsmux/cli/forwards/codes"
import * as Labels from "effect-wsmux/cli/forwards/labels"
import * as Place from "effect-wsmux/cli/forwards/place"
import * as Targets from "effect-wsmux/cli/forwards/targets"
import { allowed } from "effect-wsmux/cli/policy/policy"
import * as RareWarning from "effect-wsmux/cli/rareWarning"
import type * as Session from "effect-wsmux/Session"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Net from "node:net"
import * as Tcp from "../../e2e/cli/tcp.js"
import { bytes, text } from "../../support/bytes.js"
import { quiet } from "../../support/observe.js"
import { makeResumable } from "../../support/resumable.js"
import { readSome } from "../../support/sessions.js"
import { patience as limit, within } from "../../support/within.js"

/** A client of a server whose listeners give up their places after a time. All servers share the holders. */
const makeClient = (holders: Holders, user: string, patience: Duration.Duration) =>
  Effect.gen(function*() {
    const ends = yield* makeResumable({ client: quiet, server: quiet })
    const options = yield* Targets.make({
      session: ends.peer,
      policy: { decide: () => allowed },
      user,
      isCurrent: () => true,
      isAuthenticated: true,
      target: Option.none(),
      keepAlive: Duration.zero,
      proxyProtocol: false,
      holders,
      patience,
      warn: RareWarning.make()
    })
    yield* Effect.forkScoped(TcpTunnel.serve(ends.peer, options))
    return ends
  })

/** Asks for a listener, and completes with its stream and its port. */
const listen = (client: Session.Session, port: number) =>
  Effect.gen(function*() {
    const where = Labels.located("tcp", Place.port("127.0.0.1", port))
    const stream = yield* client.open({ label: Labels.Label.listen, metadata: Labels.toListener(where, "0") })
    const address = text(yield* readSome(stream))
    return { stream, port: Number(address.trim().split(":")[1]) }
  })

/** Polls until connections to the port are taken, or refused. */
const becomes = (port: number, isOpen: boolean) =>
  Effect.async<boolean>((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1" })
    socket.on("connect", () => resume(Effect.succeed(true)))
    socket.on("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.zipLeft(Effect.sleep(50)),
    Effect.repeat({ until: (is) => is === isOpen }),
    within(limit, `port ${port} to be ${isOpen ? "open" : "free"}`)
  )

const cannotListen = { _tag: "StreamReset", code: Codes.Code.CannotListen }

describe("wsmux serve", () => {
  it.scopedLive("a listener is closed while its client is away, and its connections go on", () =>
    Effect.gen(function*() {
      const { client, cut, network } = yield* makeClient(new Holders(), "ada", Duration.millis(300))
      const { port } = yield* listen(client, 0)
      const far = yield* Tcp.connect(port)
      yield* far.write("before")
      const near = yield* client.accept
      expect(text(yield* readSome(near))).toBe("before")
      network.isDown = true
      yield* cut
      yield* becomes(port, false)
      yield* far.write("meanwhile")
      network.isDown = false
      expect(text(yield* readSome(near))).toBe("meanwhile")
      yield* near.write(bytes("answer"))
      expect(text(yield* far.received(6))).toBe("answer")
      yield* becomes(port, true)
    }))

  it.scopedLive("a listener of a suspended client gives its port to the next client of the user", () =>
    Effect.gen(function*() {
      const holders = new Holders()
      const old = yield* makeClient(holders, "ada", Duration.minutes(1))
      const { port, stream } = yield* listen(old.client, 0)
      old.network.isDown = true
      yield* old.cut
      const stranger = yield* makeClient(holders, "eve", Duration.minutes(1))
      expect(yield* Effect.flip(listen(stranger.client, port))).toMatchObject(cannotListen)
      const next = yield* makeClient(holders, "ada", Duration.minutes(1))
      expect((yield* listen(next.client, port)).port).toBe(port)
      // the port stays with the newer client
      old.network.isDown = false
      const lost = yield* Effect.flip(stream.read).pipe(within(limit, "the end of the old listener"))
      expect(lost).toMatchObject(cannotListen)
      const third = yield* makeClient(holders, "ada", Duration.minutes(1))
      expect(yield* Effect.flip(listen(third.client, port))).toMatchObject(cannotListen)
    }))
})
