import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { parentOf, traceParent } from "../../../../src/internal/session/traceContext.js"
import { quiet } from "../../../support/observe.js"
import { makeSessions, readAll, settle } from "../../../support/sessions.js"
import { makeTracer } from "../../../support/spans.js"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

describe("parentOf", () => {
  it("parentOf returns the span of a traceparent that traceParent made", () => {
    for (const sampled of [true, false]) {
      const header = traceParent({ traceId, spanId, sampled } as Tracer.Span)!
      expect(header).toBe(`00-${traceId}-${spanId}-0${sampled ? 1 : 0}`)
      expect(parentOf({ traceparent: header })).toMatchObject({ _tag: "ExternalSpan", traceId, spanId, sampled })
    }
  })

  it("parentOf returns undefined for metadata without a valid traceparent", () => {
    const invalid = [
      `01-${traceId}-${spanId}-01`,
      `00-${"0".repeat(32)}-${spanId}-01`,
      `00-${traceId}-${"0".repeat(16)}-01`,
      `00-${traceId}-${spanId}-01-more`,
      `00-${traceId.toUpperCase()}-${spanId}-01`,
      "x"
    ]
    expect([parentOf({}), ...invalid.map((traceparent) => parentOf({ traceparent }))]).toEqual(
      [undefined, ...invalid.map(() => undefined)]
    )
  })

  it("traceParent returns undefined for ids of another form", () => {
    expect(traceParent({ traceId: "1", spanId, sampled: true } as Tracer.Span)).toBeUndefined()
  })
})

describe("Session with a tracer", () => {
  /** Opens a stream in a span under a tracer. Returns the parent of the handler's span, and the stream's metadata. */
  const traced = (dialect: "auto" | "off", metadata?: { readonly traceparent: string }) =>
    Effect.gen(function*() {
      const { tracer } = yield* makeTracer
      const { client, server } = yield* makeSessions({ client: { ...quiet, dialect }, server: { ...quiet, dialect } })
      yield* settle
      const seen: Array<readonly [Option.Option<Tracer.AnySpan>, MuxStream["metadata"]]> = []
      yield* Effect.forkScoped(server.run((stream) =>
        Effect.map(
          Effect.useSpan("handle", (span) => Effect.succeed(span.parent)),
          (parent) => void seen.push([parent, stream.metadata])
        )
      ))
      const outer = yield* Effect.useSpan("outer", (span) =>
        Effect.scoped(Effect.flatMap(client.open({ metadata }), readAll)).pipe(
          Effect.withTracer(tracer),
          Effect.withParentSpan(span),
          Effect.as(span)
        ))
      return { outer, seen: seen[0]! }
    })

  it.scoped("Session.run makes the span of an open the parent of its handler's spans", () =>
    Effect.gen(function*() {
      const { outer, seen: [parent, metadata] } = yield* traced("auto")
      expect(Option.getOrThrow(parent)).toMatchObject({ _tag: "ExternalSpan", traceId: outer.traceId })
      expect(Option.getOrThrow(parent).spanId).not.toBe(outer.spanId) // the span of the open lies between
      expect(metadata.traceparent).toContain(outer.traceId)
    }))

  it.scoped("Session.open keeps a traceparent of the caller's own", () =>
    Effect.gen(function*() {
      const traceparent = `00-${traceId}-${spanId}-01`
      const { seen: [parent, metadata] } = yield* traced("auto", { traceparent })
      expect([Option.getOrThrow(parent).spanId, metadata]).toEqual([spanId, { traceparent }])
    }))

  it.scoped("Session.open tells a peer without the dialect no span, and opens as ever", () =>
    Effect.gen(function*() {
      const { seen: [parent, metadata] } = yield* traced("off")
      expect([Option.isNone(parent), metadata]).toEqual([true, {}])
    }))
})
