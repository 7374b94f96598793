import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Http from "node:http"
import * as Net from "node:net"
import { pattern } from "../../support/bytes.js"
import { ask, redialling, refusal, secret, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { known, nodeSecret, saying, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { within } from "../../support/within.js"

describe("the nodes of a relay", () => {
  it.scopedLive("each node answers for a name when the agent has dialled one of three", () =>
    Effect.gen(function*() {
      const { directory, first, nodes } = yield* startNodes(3)
      yield* serveAgent(first.ws, "site", (request, response) => {
        response.writeHead(200, { "x-host": request.headers["x-forwarded-host"] as string })
        request.pipe(response)
      }, { program: "p" })
      yield* known(directory, "site")
      const body = Buffer.from(pattern(200_000))
      for (const node of nodes) {
        const answer = yield* ask(`${node.http}/site`, { method: "POST" }, body)
        expect([answer.status, answer.headers["x-host"]]).toEqual([200, `${node.hostname}:${node.port}`])
        expect(answer.body === body.toString("latin1")).toBe(true)
      }
    }))

  it.scopedLive("the agents of one token share a name when they have dialled different nodes", () =>
    Effect.gen(function*() {
      const { directory, nodes } = yield* startNodes(3)
      const token = tokenOf("site")
      yield* serveAgent(nodes[0]!.ws, "site", saying("a"), { token, program: "a" })
      yield* serveAgent(nodes[1]!.ws, "site", saying("b"), { token, program: "b" })
      yield* known(directory, "site", 2)
      const answers = yield* Effect.replicateEffect(Effect.map(ask(`${nodes[2]!.http}/site`), ({ body }) => body), 30)
      expect(new Set(answers)).toEqual(new Set(["a", "b"]))
    }))

  it.scopedLive("the newest token has the name when its agent dials another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      const old = yield* serveAgent(first.ws, "site", saying("old"), { program: "a" })
      yield* known(directory, "site")
      yield* serveAgent(second.ws, "site", saying("new"), { program: "b", token: tokenOf("site", { at: 50 }) })
      yield* old.session.awaitClosed
      expect((yield* ask(`${first.http}/site`)).body).toBe("new")
      expect((yield* ask(`${second.http}/site`)).body).toBe("new")
    }))

  it.scopedLive("an agent with an older token loses the name when it has dialled another node later", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      yield* serveAgent(first.ws, "site", saying("new"), { program: "a", token: tokenOf("site", { at: 50 }) })
      yield* known(directory, "site")
      const late = yield* serveAgent(second.ws, "site", saying("old"), { program: "b" })
      yield* late.session.awaitClosed
      expect((yield* ask(`${second.http}/site`)).body).toBe("new")
    }))

  it.scopedLive("a node passes no bytes to an agent of another epoch when the directory is wrong", () =>
    Effect.gen(function*() {
      const directory = yield* RelayDirectory.makeMemory
      let epoch = 0
      // says what a directory would that was split from the node
      const wrong: RelayDirectory.Service = {
        ...directory,
        find: (name) => Effect.map(directory.find(name), Option.map((entry) => ({ ...entry, epoch: epoch = 1 })))
      }
      const cluster = { secret: nodeSecret, ttl: "10 seconds" } as const
      const first = yield* startRelay({ holdTimeout: 0, cluster: { ...cluster, directory } })
      const second = yield* startRelay({ holdTimeout: 0, cluster: { ...cluster, directory: wrong } })
      let requests = 0
      yield* serveAgent(first.ws, "site", (_request, response) => {
        requests++
        response.end()
      }, { program: "p" })
      yield* known(directory, "site")
      expect((yield* ask(`${second.http}/site`)).status).toBe(503)
      expect([requests, epoch]).toEqual([0, 1])
    }))

  it.scopedLive("a node is forgotten within its time to live when it dies, and its agent is reached again", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      yield* redialling([first.ws, second.ws], "site", saying("here"))
      yield* known(directory, "site")
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
      yield* first.crash
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
    }))

  it.scopedLive("a request fails within 10 s when the node of its agent has vanished without ending TCP", () =>
    Effect.gen(function*() {
      const directory = yield* RelayDirectory.makeMemory
      let hasVanished = false
      let port = 0
      const way = Net.createServer((near) => {
        const far = Net.connect(port, "127.0.0.1")
        for (const [from, to] of [[near, far], [far, near]] as const) {
          from.on("data", (data) => void (hasVanished || to.write(data)))
          from.on("error", () => {})
          from.on("close", () => to.destroy())
        }
      })
      yield* Effect.async<void>((resume) => void way.listen(0, "127.0.0.1", () => resume(Effect.void)))
      yield* Effect.addFinalizer(() => Effect.sync(() => way.close()))
      const cluster = { directory, secret: nodeSecret }
      const url = `ws://127.0.0.1:${(way.address() as Net.AddressInfo).port}/`
      const first = yield* startRelay({ cluster: { ...cluster, url } })
      port = first.port
      const second = yield* startRelay({ cluster })
      yield* serveAgent(first.ws, "site", saying("here"), { program: "p" })
      yield* known(directory, "site")
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
      hasVanished = true
      const answer = yield* ask(`${second.http}/site`).pipe(within("10 seconds", "an answer of the other node"))
      expect(answer.status).toBe(503)
    }))

  it.scopedLive("a node that has never heard of a name waits when its agent is about to dial another node", () =>
    Effect.gen(function*() {
      const { directory, first, nodes, second } = yield* startNodes(3)
      const agent = yield* serveAgent(first.ws, "site", saying("before"), { program: "p" })
      yield* known(directory, "site")
      yield* agent.session.close
      yield* known(directory, "site", 0)
      const asked = yield* Effect.fork(ask(`${second.http}/site`))
      yield* serveAgent(nodes[2]!.ws, "site", saying("after"), { program: "p" })
      expect((yield* asked).body).toBe("after")
      expect((yield* ask(`${second.http}/other`)).status).toBe(404)
    }))

  it.scopedLive("no request fails when a node under load drains", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      const slow: Http.RequestListener = (_request, response) => void setTimeout(() => response.end("here"), 30)
      yield* redialling([first.ws, second.ws], "site", slow)
      yield* known(directory, "site")
      const statuses: Array<number> = []
      const load = (url: string) =>
        Effect.forEach(
          Array.from({ length: 25 }),
          () => Effect.map(ask(`${url}/site`), ({ status }) => statuses.push(status)),
          { discard: true }
        )
      const running = yield* Effect.fork(
        Effect.all(Array.from({ length: 8 }, () => load(second.http)), { concurrency: "unbounded" })
      )
      yield* eventually(() => statuses.length > 20)
      yield* first.drain({ grace: "10 seconds" })
      yield* running
      expect(new Set(statuses)).toEqual(new Set([200]))
      expect(statuses.length).toBe(200)
    }))

  it.scopedLive("a draining node answers its requests through the node to which the agent has moved", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      let held: Http.ServerResponse | undefined
      yield* redialling([first.ws, second.ws], "site", (request, response) => {
        if (request.url === "/held") held = response
        else response.end("moved")
      })
      yield* known(directory, "site")
      const holding = yield* Effect.fork(ask(`${first.http}/site/held`))
      yield* eventually(() => held !== undefined)
      const draining = yield* Effect.fork(first.drain({ grace: "10 seconds" }))
      yield* known(directory, "site", 2)
      expect((yield* ask(`${first.http}/site`)).body).toBe("moved")
      expect((yield* ask(`${first.http}/__heartbeat__`)).status).toBe(503)
      held!.end("held")
      expect((yield* holding).body).toBe("held")
      yield* draining
    }))

  it.scopedLive("known names go on and others get 503 while the directory is away, and it comes back", () =>
    Effect.gen(function*() {
      let isAway = false
      const guarded = <A>(effect: Effect.Effect<A, RelayDirectory.DirectoryFailure>) =>
        Effect.suspend(() => isAway ? Effect.fail(new RelayDirectory.DirectoryFailure({ cause: "away" })) : effect)
      const { directory, first, second } = yield* startNodes(2, {
        ttl: 30_000,
        wrap: (directory) => ({
          ...directory,
          renew: (node, ttl) => guarded(directory.renew(node, ttl)),
          claim: (name, epoch, id) => guarded(directory.claim(name, epoch, id)),
          release: (name, epoch, id) => guarded(directory.release(name, epoch, id)),
          find: (name) => guarded(directory.find(name))
        })
      })
      yield* serveAgent(first.ws, "old", saying("old"), { program: "p" })
      yield* known(directory, "old")
      expect((yield* ask(`${second.http}/old`)).body).toBe("old")
      isAway = true
      yield* serveAgent(first.ws, "new", saying("new"), { program: "p" })
      expect((yield* ask(`${second.http}/old`)).body).toBe("old")
      expect((yield* ask(`${first.http}/new`)).body).toBe("new")
      expect(yield* ask(`${second.http}/new`)).toMatchObject({
        status: 503,
        headers: { "retry-after": "1" },
        body: "the directory of names is away\n"
      })
      isAway = false
      yield* known(directory, "new")
      expect((yield* ask(`${second.http}/new`)).body).toBe("new")
    }))

  it.scopedLive("a node refuses another when its token has another secret or is for another node", () =>
    Effect.gen(function*() {
      const { first } = yield* startNodes(1)
      const dial = (token: string) =>
        refusal(NodeTransport.connect(first.ws, {
          headers: { "wsmux-relay-node": "thief", authorization: `Bearer ${token}` }
        }))
      expect(yield* dial(tokenOf("thief"))).toMatchObject({ status: 401 })
      expect(yield* dial(tokenOf("thief", { by: nodeSecret }))).toMatchObject({ status: 401 })
      expect(
        yield* refusal(startRelay({
          cluster: { directory: yield* RelayDirectory.makeMemory, secret }
        }))
      ).toMatchObject({ setting: "cluster.secret" })
    }))
})
