import { describe, expect, it } from "@effect/vitest"
import { format } from "effect-wsmux/Address"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ask, secret, serveAgent } from "../../support/relay.js"
import { known, nodeSecret, saying } from "../../support/relayNodes.js"

/** A node of a program, which takes the directory from its context. */
const node = Layer.unwrapEffect(
  Effect.map(
    RelayDirectory.RelayDirectory,
    (directory) => RelayServer.layer({ secrets: [secret], cluster: { directory, secret: nodeSecret } })
  )
)

describe("the layers of a relay", () => {
  it.scopedLive("RelayServer.layer provides a relay that listens until the scope closes", () =>
    Effect.gen(function*() {
      const http = yield* Effect.gen(function*() {
        const relay = yield* RelayServer.RelayServer
        const address = format(relay.address)
        yield* serveAgent(`ws://${address}/`, "site", saying("here"), { program: "p" })
        expect(relay.urlOf("site")).toBe(`http://${address}/site`)
        expect((yield* ask(relay.urlOf("site"))).body).toBe("here")
        return `http://${address}`
      }).pipe(Effect.scoped, Effect.provide(RelayServer.layer({ secrets: [secret] })))
      expect(yield* Effect.flip(ask(http))).toMatchObject({ code: "ECONNREFUSED" })
    }))

  it.scopedLive("RelayDirectory.layerMemory joins two layers of RelayServer into one relay", () =>
    Effect.gen(function*() {
      const directory = yield* RelayDirectory.RelayDirectory
      const [first, second] = [yield* Layer.build(Layer.fresh(node)), yield* Layer.build(Layer.fresh(node))].map(
        (context) => format(Context.get(context, RelayServer.RelayServer).address)
      )
      yield* serveAgent(`ws://${first}/`, "site", saying("here"), { program: "p" })
      yield* known(directory, "site")
      expect((yield* ask(`http://${second}/site`)).body).toBe("here")
    }).pipe(Effect.provide(RelayDirectory.layerMemory)))
})
