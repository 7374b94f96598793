import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import { RequestError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Stream from "effect/Stream"
import { makeDeferred } from "../sync/unowned.js"

/**
 * Makes streamed request bodies wait for their reader, and abort the request when they fail.
 *
 * The platform's client for Node does not wait after the last element of a `Chunk`. So a body of one-element chunks,
 * such as one read from a `MuxStream`, would be buffered without a bound. When a body fails, that client first ends the
 * request, so the server would take a part of the body for the whole. Here the failure never reaches that client:
 * interruption aborts the request.
 */
export const withSafeBodies = (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  client.pipe(
    HttpClient.mapRequest((request) => {
      if (request.body._tag !== "Stream") return request
      const { contentLength, contentType, stream } = request.body
      const safe = Stream.catchAllCause(Stream.mapChunks(stream, Chunk.append(nothing)), (cause) =>
        Stream.fromEffect(
          Effect.flatMap(
            FiberRef.get(currentFailure),
            (failure) => Effect.zipRight(Deferred.failCause(failure, cause), Effect.never)
          )
        ))
      const body = HttpBody.stream(safe, contentType, contentLength)
      return HttpClientRequest.setHeaders(HttpClientRequest.setBody(request, body), request.headers)
    }),
    HttpClient.transform((response, request) =>
      request.body._tag !== "Stream" ?
        response :
        Effect.flatMap(Deferred.make<never, unknown>(), (failure) =>
          Effect.raceFirst(
            Effect.locally(response, currentFailure, failure),
            Effect.mapError(Deferred.await(failure), (cause) => new RequestError({ request, reason: "Encode", cause }))
          ))
    )
  )

/** The failure of the body whose request runs. Each attempt of a request has its own. */
const currentFailure = FiberRef.unsafeMake(makeDeferred<never, unknown>())

/** An empty element, which makes the client wait for `drain` after the element before it. */
const nothing = new Uint8Array(0)

/**
 * Destroys a response when the stream of its body fails. The platform's server for Node ends the response then, so the
 * client would take a part of the body for the whole.
 */
export const abortFailedBody = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
  // after the app, so that the handler sees what those of the app have made of the response
  Effect.zipLeft(app, HttpApp.appendPreResponseHandler(abortingBody))

const abortingBody: HttpApp.PreResponseHandler = (request, response) => {
  const { body } = response
  if (body._tag !== "Stream") return Effect.succeed(response)
  const abort = Effect.sync(() => NodeHttpServerRequest.toServerResponse(request).destroy())
  const stream = Stream.onError(body.stream, () => abort)
  const safe = HttpServerResponse.setBody(response, HttpBody.stream(stream, body.contentType, body.contentLength))
  return Effect.succeed(HttpServerResponse.setHeaders(safe, response.headers))
}
