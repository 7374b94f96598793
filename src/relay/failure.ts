import * as Data from "effect/Data"

/** The statuses of answers that the relay gives itself. */
export const statuses = [400, 404, 408, 429, 501, 502, 503, 504] as const

/** Why the relay answers a request itself. The message is text for the client. */
export class Unanswered extends Data.TaggedError("Unanswered")<{
  readonly status: (typeof statuses)[number]
  readonly message: string
  /** The seconds after which another attempt may succeed. */
  readonly retryAfter?: number | undefined
}> {}

export const unknownName = new Unanswered({ status: 404, message: "no agent is connected with that name" })

export const bodyBeforeUpgrade = new Unanswered({ status: 400, message: "an upgrade request with a body" })

export const unknownCoding = new Unanswered({ status: 501, message: "a transfer coding other than chunked" })

export const noAgent = new Unanswered({
  status: 503,
  message: "the agent of that name is away",
  retryAfter: 1
})

export const agentFailed = new Unanswered({ status: 502, message: "the agent failed to answer" })

export const agentSilent = new Unanswered({ status: 504, message: "the agent did not answer in time" })

export const clientSilent = new Unanswered({ status: 408, message: "the request did not arrive in time" })

/**
 * The code of the reset by which one node tells another that it has no agent for a stream. Plus a status, the code
 * tells another reason.
 */
export const notHere = 256
