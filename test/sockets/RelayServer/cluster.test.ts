import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Token from "effect-wsmux/relay/token"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Http from "node:http"
import * as Net from "node:net"
import { pattern } from "../../support/bytes.js"
import { ask, dialAgent, redialling, refusal, secret, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { known, nodeSecret, saying, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** A way for the other nodes to one of them, which counts their connections and may lose all bytes. */
const startWay = Effect.gen(function*() {
  const way = { url: "", to: 0, connections: 0, hasVanished: false, isClosed: false }
  const server = Net.createServer((near) => {
    way.connections++
    if (way.isClosed) return void near.destroy()
    const far = Net.connect(way.to, "127.0.0.1")
    for (const [from, to] of [[near, far], [far, near]] as const) {
      from.on("data", (data) => void (way.hasVanished || to.write(data)))
      from.on("error", () => {})
      from.on("close", () => to.destroy())
    }
  })
  yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  way.url = `ws://127.0.0.1:${(server.address() as Net.AddressInfo).port}/`
  return way
})

/** Two nodes, the first of which is reached by such a way from the second. */
const startTwoByWay = Effect.gen(function*() {
  const directory = yield* RelayDirectory.makeMemory
  const way = yield* startWay
  const cluster = { directory, secret: nodeSecret }
  const first = yield* startRelay({ cluster: { ...cluster, url: way.url } })
  way.to = first.port
  return { directory, first, second: yield* startRelay({ cluster }), way }
})

/** A directory that fails while it is away. */
const sometimesAway =
  (state: { isAway: boolean; failedClaims: number }) => (directory: RelayDirectory.Service): RelayDirectory.Service => {
    const away = new RelayDirectory.DirectoryFailure({ cause: "away" })
    const guarded = <A>(effect: Effect.Effect<A, RelayDirectory.DirectoryFailure>) =>
      Effect.suspend(() => state.isAway ? Effect.fail(away) : effect)
    return {
      ...directory,
      renew: (node, ttl) => guarded(directory.renew(node, ttl)),
      claim: (claim) => Effect.tapError(guarded(directory.claim(claim)), () => Effect.sync(() => state.failedClaims++)),
      weigh: (claim) => guarded(directory.weigh(claim)),
      release: (claim) => guarded(directory.release(claim)),
      find: (name) => guarded(directory.find(name))
    }
  }

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

  it.scopedLive("an agent with an older token gets 409 when a newer one has dialled another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2)
      yield* serveAgent(first.ws, "site", saying("new"), { program: "a", token: tokenOf("site", { at: 50 }) })
      yield* known(directory, "site")
      expect(yield* refusal(dialAgent(second.ws, "site", { program: "b" }))).toMatchObject({ status: 409 })
      expect((yield* ask(`${second.http}/site`)).body).toBe("new")
    }))

  it.scopedLive("an agent with an older token loses the name when a node hears of the newer one late", () =>
    Effect.gen(function*() {
      let isAway = false
      const { directory, first, second } = yield* startNodes(2, {
        wrap: (directory) => ({
          ...directory,
          weigh: (claim) => isAway ? Effect.never : directory.weigh(claim)
        })
      })
      yield* serveAgent(first.ws, "site", saying("new"), { program: "a", token: tokenOf("site", { at: 50 }) })
      yield* known(directory, "site")
      isAway = true
      const late = yield* serveAgent(second.ws, "site", saying("old"), { program: "b" })
      yield* late.session.awaitClosed
      expect((yield* ask(`${second.http}/site`)).body).toBe("new")
    }))

  for (const [who, options] of [["Go's client", { dialect: "off" }], ["a program", { program: "p" }]] as const) {
    it.scopedLive(`${who} takes the place of its frozen connection when it dials another node`, () =>
      Effect.gen(function*() {
        const { directory, first, second } = yield* startNodes(2, { ttl: "1 minute" })
        const frozen = yield* dialAgent(first.ws, "site", options) // answers nothing
        yield* known(directory, "site")
        yield* serveAgent(second.ws, "site", saying("here"), options)
        yield* frozen.session.awaitClosed.pipe(within(patience, "the end of the frozen connection"))
        expect((yield* ask(`${first.http}/site`)).body).toBe("here")
        expect((yield* ask(`${second.http}/site`)).body).toBe("here")
      }))
  }

  it.scopedLive("an agent that was superseded while the directory was away ends when it is back", () =>
    Effect.gen(function*() {
      const state = { isAway: false, failedClaims: 0 }
      const { directory, first, second } = yield* startNodes(2, { wrap: sometimesAway(state) })
      const frozen = yield* dialAgent(first.ws, "site", { program: "p" })
      yield* known(directory, "site")
      state.isAway = true
      yield* serveAgent(second.ws, "site", saying("here"), { program: "p" })
      yield* eventually(() => state.failedClaims > 0)
      state.isAway = false
      yield* frozen.session.awaitClosed.pipe(within(patience, "the end of the frozen connection"))
      expect((yield* ask(`${first.http}/site`)).body).toBe("here")
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
      const { directory, first, second, way } = yield* startTwoByWay
      yield* serveAgent(first.ws, "site", saying("here"), { program: "p" })
      yield* known(directory, "site")
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
      way.hasVanished = true
      const answer = yield* ask(`${second.http}/site`).pipe(within("10 seconds", "an answer of the other node"))
      expect(answer.status).toBe(503)
    }))

  it.scopedLive("a node dials another once a second when many requests wait and it cannot be reached", () =>
    Effect.gen(function*() {
      const { directory, first, second, way } = yield* startTwoByWay
      yield* serveAgent(first.ws, "site", saying("here"), { program: "p" })
      yield* known(directory, "site")
      way.isClosed = true
      const answers = yield* Effect.replicateEffect(ask(`${second.http}/site`), 20, { concurrency: "unbounded" })
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
      expect(way.connections).toBeLessThanOrEqual(6) // within the 5 s of `holdTimeout`
      way.isClosed = false
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
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
      yield* eventually(() =>
        Option.getOrThrow(Effect.runSync(directory.find("site"))).nodes.some(({ id }) => id === "node1")
      )
      expect((yield* ask(`${first.http}/site`)).body).toBe("moved")
      expect((yield* ask(`${first.http}/__heartbeat__`)).status).toBe(503)
      held!.end("held")
      expect((yield* holding).body).toBe("held")
      yield* draining
    }))

  it.scopedLive("known names go on and others get 503 while the directory is away, and it comes back", () =>
    Effect.gen(function*() {
      const state = { isAway: false, failedClaims: 0 }
      const { directory, first, second } = yield* startNodes(2, { ttl: 30_000, wrap: sometimesAway(state) })
      yield* serveAgent(first.ws, "old", saying("old"), { program: "p" })
      yield* known(directory, "old")
      expect((yield* ask(`${second.http}/old`)).body).toBe("old")
      state.isAway = true
      yield* serveAgent(first.ws, "new", saying("new"), { program: "p" })
      expect((yield* ask(`${second.http}/old`)).body).toBe("old")
      expect((yield* ask(`${first.http}/new`)).body).toBe("new")
      expect(yield* ask(`${second.http}/new`)).toMatchObject({
        status: 503,
        headers: { "retry-after": "1" },
        body: "the directory of names is away\n"
      })
      state.isAway = false
      yield* known(directory, "new")
      expect((yield* ask(`${second.http}/new`)).body).toBe("new")
    }))

  it.scopedLive("a known name goes on for its time to live while the directory is away, and ends then", () =>
    Effect.gen(function*() {
      const state = { isAway: false, failedClaims: 0 }
      const { directory, first, second } = yield* startNodes(2, { ttl: 2000, wrap: sometimesAway(state) })
      yield* serveAgent(first.ws, "site", saying("here"), { program: "p" })
      yield* known(directory, "site")
      const askedAt = performance.now()
      expect((yield* ask(`${second.http}/site`)).body).toBe("here")
      state.isAway = true
      const answers: Array<number> = []
      const asking = Effect.map(ask(`${second.http}/site`), ({ status }) => answers.push(status))
      yield* Effect.repeat(Effect.delay(asking, 50), { until: () => answers.at(-1) !== 200 }).pipe(
        within(patience, "the end of the time to live")
      )
      expect(performance.now() - askedAt).toBeGreaterThan(2000)
      expect(new Set(answers)).toEqual(new Set([200, 503]))
      expect((yield* ask(`${first.http}/site`)).body).toBe("here") // its agent is local
    }))

  it.scopedLive("two nodes share one session for all streams when 50 requests come at once", () =>
    Effect.gen(function*() {
      const { directory, first, second, way } = yield* startTwoByWay
      for (const name of ["a", "b"]) {
        yield* serveAgent(first.ws, name, saying(name), { program: "p" })
        yield* known(directory, name)
      }
      const names = Array.from({ length: 50 }, (_, i) => i % 2 === 0 ? "a" : "b")
      const bodies = yield* Effect.forEach(
        names,
        (name) => Effect.map(ask(`${second.http}/${name}`), ({ body }) => body),
        { concurrency: "unbounded" }
      )
      expect([bodies, way.connections]).toEqual([names, 1])
      // a further agent changes the entry of the name, and not the session
      yield* serveAgent(first.ws, "a", saying("a"), { program: "q" })
      expect((yield* ask(`${second.http}/a`)).body).toBe("a")
      expect(way.connections).toBe(1)
    }))

  it.scopedLive("a node refuses another when its token has another secret or is for another node", () =>
    Effect.gen(function*() {
      const { first } = yield* startNodes(1)
      const seconds = Math.floor(Date.now() / 1000)
      const claims = { iss: "node1", aud: "wsmux-relay-node:node0", nbf: seconds - 60, exp: seconds + 60 }
      const dial = (changed: Partial<typeof claims>, by = nodeSecret) =>
        NodeTransport.connect(first.ws, {
          headers: { "wsmux-relay-node": "node1", authorization: `Bearer ${Token.sign({ ...claims, ...changed }, by)}` }
        })
      yield* dial({})
      for (const changed of [{ aud: "wsmux-relay-node:node2" }, { iss: "node2" }, { exp: seconds - 1 }]) {
        expect(yield* refusal(dial(changed))).toMatchObject({ status: 401 })
      }
      expect(yield* refusal(dial({}, secret))).toMatchObject({ status: 401 })
      expect(
        yield* refusal(startRelay({
          cluster: { directory: yield* RelayDirectory.makeMemory, secret }
        }))
      ).toMatchObject({ setting: "cluster.secret" })
    }))
})
