import type * as Http from "node:http"

/** Headers in the form of Node's `rawHeaders`: names and values in turn. */
export type RawHeaders = ReadonlyArray<string>

/** The headers of one connection (RFC 9110, 7.6.1). `te` and the framing of a body are handled apart. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade"
])

/** What a client tells about its way here. The relay knows better, and trusts none of it. */
const untrusted = /^(forwarded|x-forwarded-.*|x-real-ip|x-websocktunnel-.*|wsmux-relay-.*)$/

/** Framing and routing, which a client must not remove by naming them in `connection`. */
const kept = new Set(["content-length", "host", "trailer"])

/** Removes the headers of one connection, and those that `connection` names. */
const endToEnd = (raw: RawHeaders): Array<readonly [name: string, value: string]> => {
  const pairs: Array<readonly [string, string]> = []
  const named = new Set<string>()
  for (let at = 0; at + 1 < raw.length; at += 2) {
    pairs.push([raw[at]!, raw[at + 1]!])
    if (raw[at]!.toLowerCase() !== "connection") continue
    for (const name of raw[at + 1]!.split(",")) named.add(name.trim().toLowerCase())
  }
  return pairs.filter(([name]) => {
    const lower = name.toLowerCase()
    return !hopByHop.has(lower) && (!named.has(lower) || kept.has(lower))
  })
}

/** Where a request came from, and where it goes to. */
export interface Origin {
  readonly remoteAddress: string | undefined
  readonly isSecure: boolean
  /** The path at the relay, before the name was removed. */
  readonly path: string
}

/** Returns the headers of the request to the agent. The body keeps the framing in which it came. */
export const requestHeaders = (
  request: Http.IncomingMessage,
  origin: Origin,
  /** Whether Node has taken the request for an upgrade. Another one may have the header `upgrade`, too. */
  isUpgrade: boolean
): Array<string> => {
  const { headers, rawHeaders } = request
  const passed = endToEnd(rawHeaders).filter(([name]) => {
    const lower = name.toLowerCase()
    return !untrusted.test(lower) && lower !== "host" && lower !== "content-length" && lower !== "expect"
  })
  const host = headers.host ?? ""
  const added: Array<readonly [string, string]> = [
    ["host", host],
    ["x-forwarded-for", origin.remoteAddress ?? "unknown"],
    ["x-forwarded-host", host],
    ["x-forwarded-proto", origin.isSecure ? "https" : "http"],
    ["x-websocktunnel-original-path", origin.path],
    ...framing(request),
    ...(/(^|,)\s*trailers\s*(,|;|$)/i.test(String(headers.te ?? "")) && !isUpgrade
      ? [["te", "trailers"] as const]
      : []),
    ...(isUpgrade ? [["connection", "upgrade"], ["upgrade", headers.upgrade!]] as const : [])
  ]
  return [...added, ...passed].flat() // Node reads the first 1,000 only, where no limit was set
}

/**
 * Whether a message has a transfer coding beside `chunked`. Node decodes `chunked` alone, and the relay passes on no
 * coding, so the next reader would take the coded bytes for the body.
 */
export const isCoded = ({ headers }: Http.IncomingMessage): boolean =>
  (headers["transfer-encoding"] ?? "chunked").trim().toLowerCase() !== "chunked"

/** Node's parser has refused a message with two kinds of framing, so at most one is present. */
const framing = ({ headers, method }: Http.IncomingMessage): ReadonlyArray<readonly [string, string]> => {
  if (headers["transfer-encoding"] !== undefined) return [["transfer-encoding", "chunked"]]
  if (headers["content-length"] !== undefined) return [["content-length", headers["content-length"]]]
  return /^(GET|HEAD|DELETE|OPTIONS|TRACE)$/.test(method ?? "") ? [] : [["content-length", "0"]]
}

/** Returns the headers of an answer for the client. Node adds the framing that the client's version of HTTP needs. */
export const answerHeaders = ({ headers, rawHeaders, statusCode }: Http.IncomingMessage): Array<string> => {
  const passed = endToEnd(rawHeaders).filter(([name]) => {
    const lower = name.toLowerCase()
    // `trailer` announces trailers of a body in chunks
    return lower !== "trailer" || headers["transfer-encoding"] !== undefined
  })
  const upgraded = statusCode === 101 ? [["connection", "upgrade"], ["upgrade", headers.upgrade ?? ""]] : []
  return [...passed, ...upgraded].flat()
}

/** Returns the trailers of a message that may follow its body. */
export const trailersOf = ({ rawTrailers }: Http.IncomingMessage): Array<[string, string]> =>
  endToEnd(rawTrailers)
    .filter(([name]) => !/^(content-.*|host|authorization|set-cookie|trailer)$/i.test(name))
    .map(([name, value]) => [name, value])
