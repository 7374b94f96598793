import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import { InvalidConfiguration } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { standardConstructor } from "../../../support/transports.js"

type Using = (value: number) => Effect.Effect<unknown, unknown>

/** A URL at which no process listens. */
const url = "ws://127.0.0.1:1"

const aStream = { read: Effect.succeed(Option.none<Uint8Array>()), write: () => Effect.void, end: Effect.void }

const request = HttpServerRequest.fromWeb(new Request("http://127.0.0.1/"))

const dialStandard = (options: WebSocketTransport.Options) =>
  Effect.scoped(WebSocketTransport.connect(url, options)).pipe(
    Effect.provideService(Socket.WebSocketConstructor, standardConstructor)
  )

const pair = (options: MemoryTransport.Options) => Effect.scoped(MemoryTransport.makePair(options))

const route = (options: SessionRoute.Options<never>) =>
  Effect.provideService(SessionRoute.make(() => Effect.void, options), HttpServerRequest.HttpServerRequest, request)

const reconnecting = (options: { readonly stableAfter?: number; readonly openTimeout?: number }) =>
  Effect.scoped(ReconnectingSession.make({ transport: Effect.never, ...options }))

const listen = (options: NodeTransportServer.Options) => Effect.scoped(NodeTransportServer.make(options))

const dial = (options: NodeTransport.ConnectOptions) => Effect.scoped(NodeTransport.connect(url, options))

const configure = (settings: SessionConfig.PartialSettings) => Effect.scoped(Layer.build(SessionConfig.layer(settings)))

/** Every size among the options of the public modules, and an operation that uses the value. */
const sizes: Readonly<Record<string, Using>> = {
  "NodeTransport highWaterMark": (highWaterMark) => dial({ highWaterMark }),
  "NodeTransport maxMessageSize": (maxMessageSize) => dial({ maxMessageSize }),
  "NodeTransportServer highWaterMark": (highWaterMark) => listen({ highWaterMark }),
  "NodeTransportServer maxMessageSize": (maxMessageSize) => listen({ maxMessageSize }),
  "NodeTransportServer maxConnections": (maxConnections) => listen({ maxConnections }),
  "WebSocketTransport highWaterMark": (highWaterMark) => dialStandard({ highWaterMark }),
  "WebSocketTransport maxMessageSize": (maxMessageSize) => dialStandard({ maxMessageSize }),
  "MemoryTransport capacity": (capacity) => pair({ capacity }),
  "MemoryTransport maxMessageSize": (maxMessageSize) => pair({ maxMessageSize }),
  "ByteStream.readAll maxBytes": (maxBytes) => ByteStream.readAll(aStream, { maxBytes }),
  "Buffered.readLine maxBytes": (maxBytes) => ByteStream.buffered(aStream).readLine({ maxBytes }),
  ...Object.fromEntries(
    ([
      "streamBufferSize",
      "maxStreamBufferSize",
      "maxWindowGrowth",
      "maxSessionBufferSize",
      "acceptBacklog",
      "maxStreams",
      "maxUnacknowledgedOpens",
      "maxPeerWindow",
      "initialSendCredit",
      "maxFrameSize",
      "discardLimit"
    ] as const).map((setting) => [`SessionConfig ${setting}`, (value: number) => configure({ [setting]: value })])
  ),
  ...Object.fromEntries(
    Object.keys(SharedLimits.defaults).map((setting) => [
      `SharedLimits ${setting}`,
      (value: number) => Effect.scoped(Layer.build(SharedLimits.layer({ [setting]: value })))
    ])
  )
}

/** Every duration. */
const durations: Readonly<Record<string, Using>> = {
  "NodeTransport openTimeout": (openTimeout) => dial({ openTimeout }),
  "NodeTransportServer upgradeTimeout": (upgradeTimeout) => listen({ upgradeTimeout }),
  "WebSocketTransport openTimeout": (openTimeout) => dialStandard({ openTimeout }),
  "MemoryTransport latency": (latency) => pair({ latency }),
  "SessionRoute upgradeTimeout": (upgradeTimeout) => route({ upgradeTimeout }),
  "ReconnectingSession stableAfter": (stableAfter) => reconnecting({ stableAfter }),
  "ReconnectingSession openTimeout": (openTimeout) => reconnecting({ openTimeout }),
  "ByteStream.join stallTimeout": (stallTimeout) => ByteStream.join(aStream, aStream, { stallTimeout }),
  ...Object.fromEntries(
    (["keepAliveInterval", "streamAcceptDeadline", "backlogTimeout", "flushTimeout", "closeTimeout"] as const).map(
      (setting) => [
        `SessionConfig ${setting}`,
        (value: Duration.DurationInput) => configure({ [setting]: value })
      ]
    )
  )
}

const negative = FastCheck.oneof(FastCheck.integer({ max: -1 }), FastCheck.double({ max: -1e-9, noNaN: true }))
const wrongSize = FastCheck.oneof(
  FastCheck.constant(NaN),
  negative,
  FastCheck.double({ min: 0, max: 2 ** 31, noNaN: true, noInteger: true })
)
const wrongDuration = FastCheck.oneof(FastCheck.constant(NaN), negative)

/** Awaits `InvalidConfiguration` as a failure or a defect. Its setting must be the last word of the name. */
const refuses = (name: string, using: Using, value: number) =>
  Effect.gen(function*() {
    const cause = yield* Effect.flip(Effect.sandbox(using(value)))
    const error = Cause.squash(cause)
    expect(error).toBeInstanceOf(InvalidConfiguration)
    expect(error).toMatchObject({ setting: name.split(" ").at(-1), detail: expect.stringContaining(`${value} is not`) })
  })

describe("options", () => {
  for (const [name, using] of Object.entries(sizes)) {
    it.effect.prop(
      `${name} is refused when it is NaN, negative or fractional`,
      [wrongSize],
      ([value]) => refuses(name, using, value),
      { fastCheck: { numRuns: 20 } }
    )
  }

  for (const [name, using] of Object.entries(durations)) {
    it.effect.prop(
      `${name} is refused when it is NaN or negative`,
      [wrongDuration],
      ([value]) => refuses(name, using, value),
      { fastCheck: { numRuns: 20 } }
    )
  }
})
