import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Net from "node:net"
import type { Address } from "../../Address.js"
import * as ByteStream from "../../ByteStream.js"
import type { MuxStream } from "../../MuxStream.js"
import type * as TcpTunnel from "../../TcpTunnel.js"
import { forwarding } from "../forward.js"
import * as Lookup from "../policy/lookup.js"
import * as Tcp from "../tcp.js"
import * as Codes from "./codes.js"
import type { Context } from "./context.js"
import * as Labels from "./labels.js"
import * as Listeners from "./listeners.js"
import * as Measure from "./measure.js"
import * as Place from "./place.js"
import * as ProxyProtocol from "./proxyProtocol.js"
import * as Udp from "./udp/sockets.js"

type ServeOptions = Parameters<typeof TcpTunnel.serve>[1]

/** Returns how `wsmux serve` serves the streams of a client: by labels, as far as the policy allows. */
export const make = (context: Context): Effect.Effect<ServeOptions> =>
  Effect.gen(function*() {
    const { keepAlive, policy, user, warn } = context
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const options = yield* forwarding
    const { localAddress, remoteAddress } = context.session
    const proxyHeader = ProxyProtocol.header(endOf(remoteAddress), endOf(localAddress))
    const listen = Listeners.make(context)
    const measure = Measure.make(context)
    const features = context.isAuthenticated ? `${Labels.features} ${Labels.measures}` : Labels.features

    /** Refuses a stream. The log names the target, and the client learns the reason in one line. */
    const refuse = (stream: MuxStream, code: Codes.Code, what: string) => {
      const reset = Codes.resetOf(code)
      return Effect.zipRight(stream.reset(reset), warn(() => `refused a stream to ${what}: ${reset.reason}`))
    }

    const dialled = (socket: Net.Socket) => {
      if (context.proxyProtocol) socket.write(proxyHeader)
      return socket
    }

    const allowsOf = (protocol: "tcp" | "udp", { host, port }: Place.Port) => (address: string) =>
      policy.decide(user, { _tag: "Address", protocol, name: host, address, port })._tag === "Allowed"

    const dialPort = (stream: MuxStream, place: Place.Port) =>
      policy.decide(user, { _tag: "Host", protocol: "tcp", host: place.host, port: place.port })._tag === "Refused"
        ? refuse(stream, Codes.Code.Forbidden, Place.format(place))
        : dialled(Tcp.dial(place, keepAlive, Lookup.make(allowsOf("tcp", place))))

    const dialPath = (stream: MuxStream, place: Place.Path) =>
      policy.decide(user, place)._tag === "Refused"
        ? refuse(stream, Codes.Code.Forbidden, place.path)
        : dialled(Tcp.dial(place, keepAlive))

    const dial = (stream: MuxStream): Net.Socket | Effect.Effect<unknown, unknown> =>
      Option.match(Labels.targetOf(stream), {
        onNone: () => refuse(stream, Codes.Code.Malformed, "a malformed target"),
        onSome: ({ place }) => place._tag === "Path" ? dialPath(stream, place) : dialPort(stream, place)
      })

    const associate = (stream: MuxStream) =>
      Effect.suspend(() => {
        const target = Labels.targetOf(stream)
        if (Option.isNone(target) || target.value.place._tag === "Path") {
          return refuse(stream, Codes.Code.Malformed, "a malformed target")
        }
        const { place } = target.value
        const { host, port } = place
        if (policy.decide(user, { _tag: "Host", protocol: "udp", host, port })._tag === "Refused") {
          return refuse(stream, Codes.Code.Forbidden, `udp:${Place.format(place)}`)
        }
        return Effect.catchTag(
          Udp.toTarget(stream, place, Lookup.make(allowsOf("udp", place))),
          "DuplexFailure",
          ({ cause }) => refuse(stream, Codes.codeOf(cause), `udp:${Place.format(place)}`)
        )
      })

    const connect = (stream: MuxStream): Net.Socket | Effect.Effect<unknown, unknown> => {
      if (!context.isCurrent()) return refuse(stream, Codes.Code.Forbidden, nameOf(stream))
      switch (stream.label) {
        case "":
        case Labels.Label.http:
          return Option.match(context.target, {
            onNone: () => refuse(stream, Codes.Code.Forbidden, "--target, which is missing"),
            onSome: (target) => dialled(Tcp.dial(target, keepAlive))
          })
        case Labels.Label.tcp:
        case Labels.Label.unix:
          return dial(stream)
        case Labels.Label.udp:
          return associate(stream)
        case Labels.Label.listen:
          return listen(stream)
        case Labels.Label.about:
          return ByteStream.writeEnd(stream, `${features}\n`)
        case Labels.Label.measure:
          return measure(stream)
        default:
          return refuse(stream, Codes.Code.Malformed, "an unknown kind of target")
      }
    }

    const nameOf = ({ label, metadata }: MuxStream): string =>
      label === "" || label === Labels.Label.http
        ? Option.match(context.target, { onNone: () => "", onSome: Place.format })
        : metadata.target ?? ""

    return {
      ...options,
      connect,
      onJoined: (stream, socket) => {
        // A fiber begins at once, so this byte precedes those of the target.
        if (stream.metadata.confirm !== undefined) fork(Effect.ignore(stream.write(Labels.confirmation)))
        return options.onJoined?.(stream, socket)
      },
      onUnreachable: ({ detail }, stream) => void fork(warn(() => `cannot reach ${nameOf(stream)}: ${detail}`)),
      explain: ({ cause }) => Codes.resetOf(Codes.codeOf(cause))
    }
  })

const endOf = (address: Address): ProxyProtocol.End | undefined =>
  address._tag === "TcpAddress" ? { host: address.hostname, port: address.port } : undefined
