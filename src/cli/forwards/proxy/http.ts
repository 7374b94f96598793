import * as Option from "effect/Option"
import { Code } from "../codes.js"
import * as Place from "../place.js"
import { complete, incomplete, malformed, nothing, type Parsed, type Refuse, type Request } from "./request.js"

/** The longest head of a request. Node's own limit is the same. */
export const maxHead = 16 * 1024

/** Statuses by reset codes. Others are 502. */
const statuses: Readonly<Record<number, string>> = {
  [Code.Forbidden]: "403 Forbidden",
  [Code.TimedOut]: "504 Gateway Timeout"
}

const answer = (status: string, reason: string): Uint8Array =>
  Buffer.from([
    `HTTP/1.1 ${status}`,
    "content-type: text/plain; charset=utf-8",
    `content-length: ${Buffer.byteLength(reason) + 1}`,
    "connection: close",
    "",
    `${reason}\n`
  ].join("\r\n"))

const badRequest = malformed(answer("400 Bad Request", "this is a proxy: expected CONNECT host:port or http://"))

const established = Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n")

/** Parses the head of a request to a proxy: `CONNECT host:port`, or `GET http://host/path` and other methods. */
export const parseRequest = (bytes: Buffer): Parsed<Request> => {
  const end = bytes.indexOf("\r\n\r\n")
  if (end > maxHead || (end === -1 && bytes.length > maxHead)) {
    return malformed(answer("431 Request Header Fields Too Large", `a head has at most ${maxHead} bytes`))
  }
  if (end === -1) return incomplete
  const [first = "", ...fields] = bytes.toString("latin1", 0, end).split("\r\n")
  const [, method, uri] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(first) ?? []
  if (method === undefined || uri === undefined) return badRequest
  const rest = bytes.subarray(end + 4)
  const refuse: Refuse = (code, reason) => answer(statuses[code] ?? "502 Bad Gateway", reason)
  if (method === "CONNECT") {
    return Option.match(Place.parseTarget(Place.split(uri)), {
      onNone: () => badRequest,
      onSome: (target) => target._tag === "Path" ? badRequest : complete({ target, accept: established, rest, refuse })
    })
  }
  const url = uri.startsWith("http://") && URL.canParse(uri) ? new URL(uri) : undefined
  const target = url && Option.getOrUndefined(Place.parseTarget([url.hostname, url.port || "80"]))
  if (url === undefined || target === undefined || target._tag === "Path") return badRequest
  const head = [`${method} ${url.pathname}${url.search} HTTP/1.1`, ...ownFields(fields), "connection: close", "", ""]
  return complete({
    target,
    accept: nothing,
    rest: Buffer.concat([Buffer.from(head.join("\r\n"), "latin1"), rest]),
    refuse
  })
}

/**
 * The header without the fields for the proxy alone. The connection ends with the answer, since the next request of
 * the client may be for another host.
 */
const ownFields = (fields: ReadonlyArray<string>): ReadonlyArray<string> =>
  fields.filter((field) => !/^(connection|keep-alive|proxy-[\w-]+)[ \t]*:/i.test(field))
