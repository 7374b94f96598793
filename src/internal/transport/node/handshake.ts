import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"

/**
 * Whether the request is a valid handshake (RFC 6455, 4.2.1). The platform's servers refuse an invalid one
 * themselves, and then `HttpServerRequest.upgrade` never completes.
 */
export const isHandshake = ({ headers, method }: Pick<HttpServerRequest, "headers" | "method">): boolean =>
  method === "GET" &&
  ["13", "8"].includes(headers["sec-websocket-version"] ?? "") &&
  /^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "") &&
  areProtocols(headers["sec-websocket-protocol"])

const areProtocols = (header: string | undefined): boolean => {
  if (header === undefined) return true
  const names = header.split(",").map((name) => name.trim())
  return new Set(names).size === names.length && names.every((name) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name))
}
