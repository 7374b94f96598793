import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type { Rejection } from "../../../TransportServer.js"
import { rejectionFault, rejectionText } from "./httpAnswer.js"

/**
 * Refuses an upgrade. The client receives the rejection as an HTTP answer. A defect, and a rejection that HTTP cannot
 * carry, are logged and answered with 500.
 */
export const refuse = (socket: Net.Socket, cause: Cause.Cause<Rejection>): Effect.Effect<void> => {
  const failure = Cause.failureOption(cause)
  const fault = failure._tag === "Some" ? rejectionFault(failure.value) : undefined
  if (failure._tag === "Some" && fault === undefined) return Effect.sync(() => answer(socket, failure.value))
  return Effect.zipRight(
    fault === undefined
      ? Effect.logError("cannot authorise a client: authorize failed", cause)
      : Effect.logError(`cannot answer with the rejection of authorize: ${fault}`),
    Effect.sync(() => answer(socket, { status: 500 }))
  )
}

/** Answers a request with a rejection, and destroys the socket when the answer has left. */
export const answer = (socket: Net.Socket, rejection: Rejection): void => {
  socket.once("finish", () => socket.destroy())
  socket.end(rejectionText(rejection))
}
