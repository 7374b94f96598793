import * as Tracer from "effect/Tracer"
import type { Metadata } from "../wire/metadata.js"

// W3C Trace Context. The decoder of @effect/platform would bring Schema into every page, three times this package.

/** The metadata entry that tells the peer which span opened the stream. Undefined for ids of another form. */
export const traceParent = (span: Tracer.Span): string | undefined => {
  const header = `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`
  return pattern.test(header) ? header : undefined
}

/** The span at the peer that opened the stream. Undefined where the peer told none. */
export const parentOf = ({ traceparent }: Metadata): Tracer.ExternalSpan | undefined => {
  const match = traceparent === undefined ? null : pattern.exec(traceparent)
  if (match === null) return undefined
  const [, traceId, spanId, flags] = match
  return Tracer.externalSpan({ traceId: traceId!, spanId: spanId!, sampled: (parseInt(flags!, 16) & 1) === 1 })
}

/** Version 00. Ids of zeros are invalid. */
const pattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/
