import type { ConnectFailure, NotConnected, ResumeFailure } from "../../WsmuxError.js"
import { describe, detailed } from "./describe.js"
import { portFault } from "./portFault.js"

export const connectFailure = ({ cause, reason, status, url }: ConnectFailure): string => {
  switch (reason) {
    case "InvalidUrl":
      return `cannot connect to ${url}: ${portFault(url) ?? "not a ws:// or wss:// address"}`
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

const whyNotResumed: Record<ResumeFailure["reason"], string> = {
  GraceExpired: "no WebSocket took the place of the lost one in time",
  AttemptsEnded: "no further attempt is made",
  Unknown: "the server does not hold the session any more",
  OtherPrincipal: "the server authorised another principal than before",
  LostBytes: "bytes are missing",
  Superseded: "a later attempt has taken the session",
  Limit: "the server holds too many suspended sessions"
}

export const resumeFailure = ({ cause, detail, loss, reason }: ResumeFailure): string => {
  const lost = loss === undefined
    ? ""
    : ` after its loss (${detailed(`code ${loss.code}`, describe(loss.cause) || loss.reason)})`
  return detailed(detailed(`cannot resume the session${lost}: ${whyNotResumed[reason]}`, detail), describe(cause))
}

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
