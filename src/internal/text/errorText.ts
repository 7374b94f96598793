import type { ConnectFailure, NotConnected } from "../../WsmuxError.js"
import { describe, detailed } from "./describe.js"

export const connectFailure = ({ cause, reason, status, url }: ConnectFailure): string => {
  switch (reason) {
    case "InvalidUrl":
      return `cannot connect to ${url}: not a ws:// or wss:// address`
    case "Timeout":
      return `cannot connect to ${url}: no answer in time`
    case "Rejected":
      return `cannot connect to ${url}: the server answered ${status}`
    case "Unreachable":
      return detailed(`cannot connect to ${url}`, isPlainAnswer(cause) ? plainServer : describe(cause))
  }
}

/** Whether OpenSSL has read an answer that is no TLS. Node gives the reason as a property or in the message. */
const isPlainAnswer = (cause: unknown): boolean =>
  cause instanceof Error &&
  /\b(wrong version number|packet length too long)\b/.test(`${cause.message} ${reasonOf(cause)}`)

const reasonOf = (cause: Error): string => "reason" in cause ? String(cause.reason) : ""

const plainServer = "the server does not speak TLS; try ws://"

export const notConnected = ({ cause, defect, reason }: NotConnected): string => {
  switch (reason) {
    case "Timeout":
      return detailed("waiting for a session timed out", describe(cause))
    case "GaveUp":
      return detailed("reconnecting gave up", describe(defect ?? cause))
    case "Closed":
      return "the reconnecting session was closed"
  }
}
