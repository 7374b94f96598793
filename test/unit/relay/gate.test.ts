import { expect, it } from "@effect/vitest"
import * as Gate from "effect-wsmux/relay/gate"
import { Names } from "effect-wsmux/relay/names"
import type { Settings } from "effect-wsmux/relay/settings"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Effect from "effect/Effect"
import type * as Http from "node:http"

const secret = "a secret of the tests"

const settings = { secrets: [secret], audience: undefined, limits: { maxAgentsPerName: 2 } } as unknown as Settings

it("Gate.admit takes an agent for one that does not tell its program when its header is empty", () => {
  const token = RelayServer.agentToken({ name: "site", issuedAt: 0, expiresAt: 100 }, secret)
  const programOf = (header: string | undefined) => {
    const headers = { "x-websocktunnel-id": "site", authorization: `Bearer ${token}`, [Gate.programHeader]: header }
    const peers: Gate.Peers = { admitsNode: () => false, weigh: () => Effect.succeed("admitted") }
    const request = { headers, url: "/" } as unknown as Http.IncomingMessage
    const principal = Effect.runSync(Gate.admit(request, settings, new Names(1000, "own"), peers, 10))
    return principal.kind === "agent" ? principal.program : "no agent"
  }
  expect([undefined, "", "p"].map(programOf)).toEqual([undefined, undefined, "p"])
})
