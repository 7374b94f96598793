import * as Http from "node:http"
import type { Rejection } from "../../../TransportServer.js"
import { plainText } from "../../text/plainText.js"

type Headers = Readonly<Record<string, string>>

/** Headers that frame an answer: this server sets them. */
const framing = /^(connection|content-length|transfer-encoding)$/i

/** Headers of the handshake: `ws` sets them. */
const handshake = /^(connection|upgrade|content-length|transfer-encoding|sec-websocket-.*)$/i

/** Returns why these headers cannot be sent; undefined if they can. A line break in a value would add headers. */
const headersFault = (headers: Headers): string | undefined => {
  try {
    for (const [name, value] of Object.entries(headers)) {
      Http.validateHeaderName(name)
      Http.validateHeaderValue(name, value)
    }
  } catch (error) {
    return plainText(error instanceof Error ? error.message : String(error))
  }
  return undefined
}

/** Returns why these headers cannot be added to the answer 101; undefined if they can. */
export const upgradeFault = (headers: Headers): string | undefined => {
  const own = Object.keys(headers).find((name) => handshake.test(name))
  return own === undefined ? headersFault(headers) : `the header ${own} is part of the handshake`
}

/** Returns why a rejection cannot be sent; undefined if it can. */
export const rejectionFault = ({ headers, status }: Rejection): string | undefined =>
  Number.isInteger(status) && status >= 200 && status < 600
    ? headersFault(headers ?? {})
    : `${plainText(String(status))} is not the status of an answer`

/** Returns the whole answer to a refused request. Its type keeps a browser from taking the text for HTML. */
export const rejectionText = ({ headers, message, status }: Rejection): string => {
  const reason = Http.STATUS_CODES[status] ?? ""
  const body = `${message ?? reason}\n`
  const given = Object.entries(headers ?? {}).filter(([name]) => !framing.test(name))
  const isTyped = given.some(([name]) => name.toLowerCase() === "content-type")
  const lines = [
    ...(isTyped ? [] : [["content-type", "text/plain; charset=utf-8"]]),
    ...given,
    ["connection", "close"],
    ["content-length", Buffer.byteLength(body)]
  ]
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")
  return `HTTP/1.1 ${status} ${reason}\r\n${head}\r\n${body}`
}
