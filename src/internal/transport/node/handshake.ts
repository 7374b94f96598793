import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as Duration from "effect/Duration"
import type { Rejection } from "../../../TransportServer.js"

/** A handshake of a request of the platform or of Node. Both have the names of headers in lower case. */
interface Handshake {
  readonly method?: string | undefined
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
}

/** How long an authorisation may take unless the program sets another time. */
export const defaultUpgradeTimeout: Duration.Duration = Duration.seconds(10)

/**
 * Whether the request is a valid handshake (RFC 6455, 4.2.1). The platform's servers refuse an invalid one
 * themselves, and then `HttpServerRequest.upgrade` never completes.
 */
export const isHandshake = (request: Pick<HttpServerRequest, "headers" | "method">): boolean =>
  handshakeFault(request) === undefined

/**
 * The answer to an invalid handshake; undefined for a valid one. The package `ws` would give the same answers, and tell
 * the program of none of them.
 */
export const handshakeFault = ({ headers, method }: Handshake): Rejection | undefined => {
  const invalid = (message: string): Rejection => ({ status: 400, message })
  const text = (name: string) => String(headers[name] ?? "")
  if (method !== "GET") return { status: 405, message: "a WebSocket is asked for by GET", headers: { allow: "GET" } }
  if (text("upgrade").toLowerCase() !== "websocket") return invalid("this server upgrades to websocket only")
  if (!["13", "8"].includes(text("sec-websocket-version"))) {
    return { ...invalid("this server has other WebSocket versions"), headers: { "sec-websocket-version": "13, 8" } }
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(text("sec-websocket-key"))) return invalid("invalid sec-websocket-key")
  return areProtocols(headers["sec-websocket-protocol"]) ? undefined : invalid("invalid sec-websocket-protocol")
}

const areProtocols = (header: unknown): boolean => {
  if (header === undefined) return true
  const names = String(header).split(",").map((name) => name.trim())
  return new Set(names).size === names.length && names.every((name) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name))
}
