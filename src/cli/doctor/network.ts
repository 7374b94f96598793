import * as Effect from "effect/Effect"
import { lookup } from "node:dns/promises"
import * as Net from "node:net"
import * as Endpoint from "../endpoint.js"
import * as Proxy from "../proxy.js"
import { fail, type Finding, millis, ok, warn } from "./finding.js"

/** The port where a scheme has one of its own. */
const ports: Readonly<Record<string, number>> = { "ws:": 80, "wss:": 443, "http:": 80, "https:": 443 }

/** The port of SOCKS (RFC 1928). */
const socksPort = 1080

/** Returns where the address leads. An IPv6 address has no brackets here. */
export const endpointOf = ({ hostname, port, protocol }: URL): Endpoint.Endpoint => ({
  host: hostname.replace(/^\[(.*)\]$/, "$1"),
  port: port === "" ? ports[protocol] ?? socksPort : Number(port)
})

/** Names the proxy in the way, without its password, and where it comes from. */
export const proxyFinding = (url: string, proxy: URL | undefined, isGiven: boolean): Finding => {
  const variable = Proxy.variableOf(url)
  if (proxy !== undefined) {
    const shown = `${proxy.protocol}//${proxy.host}`
    return ok("proxy", `${shown}, from ${isGiven ? "--proxy" : variable}`)
  }
  const why = isGiven
    ? ", as --proxy says"
    : variable === undefined
    ? ""
    : `, since NO_PROXY names the host in spite of ${variable}`
  return ok("proxy", `none${why}`)
}

/** More addresses than this are not tried. */
const maxAddresses = 8

export interface Located {
  readonly finding: Finding
  readonly addresses: ReadonlyArray<string>
}

/** Resolves a name. `whose` tells what the name is, in a sentence. */
export const names = (host: string, whose: string): Effect.Effect<Located> => {
  if (Net.isIP(host) > 0) {
    const finding = ok("names", `${whose} ${host} is an address`)
    return Effect.succeed({ finding, addresses: [host] })
  }
  return Effect.tryPromise({
    try: () => lookup(host, { all: true }),
    catch: (cause) => (cause as NodeJS.ErrnoException).code ?? "no answer"
  }).pipe(
    Effect.match({
      onFailure: (code) => {
        const advice = code === "EAI_AGAIN"
          ? "the name server does not answer: check the network"
          : "check the spelling"
        return { finding: fail("names", `${whose} ${host} has no address (${code})`, advice), addresses: [] }
      },
      onSuccess: (found) => {
        const shown = found.slice(0, maxAddresses).map(({ address, family }) => `${address} (IPv${family})`)
        const addresses = found.slice(0, maxAddresses).map(({ address }) => address)
        return { finding: ok("names", `${whose} ${host} has ${shown.join(", ")}`), addresses }
      }
    })
  )
}

/** How long each address may take to answer. */
const patience = 5000

export interface Reached {
  readonly finding: Finding
  /** The milliseconds that the fastest address took. */
  readonly time: number
}

/** Connects to each address at once, and tells which of them answer. */
export const tcp = (addresses: ReadonlyArray<string>, port: number): Effect.Effect<Reached> =>
  Effect.map(
    Effect.forEach(addresses, (host) => connect({ host, port }), { concurrency: "unbounded" }),
    (attempts) => {
      const answered = attempts.filter(({ fault }) => fault === undefined)
      const silent = attempts.filter(({ fault }) => fault !== undefined)
      const faults = silent.map(({ fault, place }) => `${place}: ${fault}`).join(", ")
      if (answered.length === 0) return { finding: fail("tcp", faults, adviceFor(silent[0]?.fault)), time: 0 }
      const fastest = answered.reduce((a, b) => a.time <= b.time ? a : b)
      const detail = `${fastest.place} answers in ${millis(fastest.time)}`
      const finding = silent.length === 0
        ? ok("tcp", detail)
        : warn("tcp", `${detail}, but ${faults}`, "clients may wait for the addresses that do not answer")
      return { finding, time: fastest.time }
    }
  )

const adviceFor = (fault = ""): string => {
  if (fault === "ECONNREFUSED") return "no process listens there: check the port, and that the server runs"
  if (fault === "ETIMEDOUT") return "a firewall may drop the packets: check it, or dial through --proxy"
  return "check the network between here and there"
}

interface Attempt {
  readonly place: string
  readonly time: number
  readonly fault: string | undefined
}

const connect = (endpoint: Endpoint.Endpoint): Effect.Effect<Attempt> =>
  Effect.async((resume) => {
    const start = performance.now()
    const done = (fault?: string) => {
      socket.destroy()
      resume(Effect.succeed({ place: Endpoint.format(endpoint), time: performance.now() - start, fault }))
    }
    const socket = Net.connect(endpoint)
      .once("connect", () => done())
      .once("error", ({ code, message }: NodeJS.ErrnoException) => done(code ?? message))
      .setTimeout(patience, () => done("ETIMEDOUT"))
    return Effect.sync(() => socket.destroy())
  })
