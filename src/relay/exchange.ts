import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import { reset } from "../internal/tcp/tcpEnds.js"
import * as Failure from "./failure.js"
import { answerHeaders, isCoded, trailersOf } from "./headers.js"
import { pump } from "./pump.js"

export interface Timeouts {
  /** How long an agent may be silent before it answers. */
  readonly answerMillis: number
  /** How long a reader may take no byte. */
  readonly stallMillis: number
}

/** The bytes of bodies that have passed. */
export interface Passed {
  in: number
  out: number
}

/** What is sent to the agent. */
export interface Head {
  readonly method: string
  readonly path: string
  readonly headers: Array<string>
}

/**
 * Carries one request and its answer over a stream to an agent. Completes when the answer has been sent. Fails while
 * nothing was answered. Later failures reset the connection of the client, since clients of HTTP/1.0 take its end for
 * the end of the answer. A client that goes, and interruption, reset the stream.
 */
export const exchange = (
  request: Http.IncomingMessage,
  response: Http.ServerResponse,
  stream: Duplex,
  head: Head,
  timeouts: Timeouts,
  passed: Passed,
  /** Takes the connection where the agent has upgraded it. */
  onUpgrade?: (answer: Http.IncomingMessage, stream: Duplex, rest: Buffer) => void
): Effect.Effect<void, Failure.Unanswered> =>
  Effect.async((resume) => {
    let isOver = false
    const onward = Http.request({ ...head, createConnection: () => stream, setHost: false })
    onward.maxHeadersCount = 0 // as for requests: 16 KiB of headers are the limit
    const finish = (effect: Effect.Effect<void, Failure.Unanswered>) => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      stopUpload()
      if (!request.complete) request.resume() // the rest of a body that was answered early, within `requestTimeout`
      response.off("close", onClose)
      resume(effect)
    }
    const fail = (failure: Failure.Unanswered) => {
      if (isOver) return
      onward.destroy(new Error(failure.message)) // with an error, which resets the stream
      if (!response.headersSent) return finish(Effect.fail(failure))
      finish(Effect.void)
      if (response.socket === null) response.destroy()
      else reset(response.socket, false, () => response.destroy())
    }
    const onSilence = () =>
      fail(request.complete || onward.writableNeedDrain ? Failure.agentSilent : Failure.clientSilent)
    const timer = setTimeout(onSilence, timeouts.answerMillis)
    const onClose = () => {
      onward.destroy(new Error("the client has gone"))
      finish(Effect.void)
    }
    response.on("close", onClose)
    const stopUpload = pump(request, onward, {
      onBytes: (count) => {
        passed.in += count
        timer.refresh()
      },
      onStall: () => {}, // the agent's silence ends the exchange
      stallMillis: timeouts.answerMillis
    }, () => {
      timer.refresh()
      onward.addTrailers(trailersOf(request)) // Node sends them behind a body in chunks only
    })
    if (!request.complete) onward.flushHeaders() // a body may begin long after its head
    request.on("error", () => {}) // `close` of the response tells the same
    onward.on("error", () => fail(Failure.agentFailed))
    onward.on("upgrade", (answer, upgraded, rest) => {
      if (isOver || onUpgrade === undefined) return fail(Failure.agentFailed)
      finish(Effect.sync(() => onUpgrade(answer, upgraded, rest)))
    })
    onward.on("information", ({ headers: { link }, statusCode }) => {
      timer.refresh()
      if (statusCode !== 103 || link === undefined || request.httpVersion !== "1.1" || response.headersSent) return
      if (response.socket?.writableNeedDrain !== false) return // hints that the client does not read are not kept
      try {
        response.writeEarlyHints({ link: String(link).split(/,\s*(?=<)/) })
      } catch {} // a link that Node finds malformed
    })
    onward.on("response", (answer) => {
      clearTimeout(timer)
      if (isCoded(answer)) return fail(Failure.agentFailed)
      try {
        response.writeHead(answer.statusCode!, answer.statusMessage ?? "", answerHeaders(answer))
      } catch { // Node's parser takes texts that its writer refuses
        return fail(Failure.agentFailed)
      }
      pump(answer, response, {
        onBytes: (count) => void (passed.out += count),
        onStall: () => fail(Failure.agentFailed), // the client reads nothing
        stallMillis: timeouts.stallMillis
      }, () => response.addTrailers(trailersOf(answer)))
      answer.on("error", () => fail(Failure.agentFailed))
      response.flushHeaders() // an answer may begin long before its body
      response.on("finish", () => finish(Effect.void))
    })
    if (response.destroyed) onClose() // while the stream was opened
    return Effect.sync(() => {
      finish(Effect.void)
      onward.destroy(new Error("interrupted"))
    })
  })
