import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import { type HttpClientError, RequestError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * Mends how the platform's client for Node sends the body of a request from a stream: it does not wait behind the last part of
 * a chunk, so that nothing holds back a stream of single parts, such as one that reads a stream of ours; and it ends the
 * request as if all were sent when the stream fails.
 */
export const sendBodiesHonestly = (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.makeWith<HttpClientError, never, HttpClientError, never>(
    Effect.flatMap((request) =>
      request.body._tag === "Stream" ? sendStream(client, request, request.body) : client.execute(request)
    ),
    Effect.succeed
  )

const sendStream = (
  client: HttpClient.HttpClient,
  request: HttpClientRequest.HttpClientRequest,
  { contentLength, contentType, stream }: HttpBody.Stream
): Effect.Effect<HttpClientResponse, HttpClientError> =>
  Effect.flatMap(Deferred.make<never, HttpClientError>(), (broken) => {
    const parts = stream.pipe(
      Stream.mapChunks(Chunk.append(nothing)),
      Stream.catchAll((cause) =>
        Stream.fromEffect(
          Effect.zipRight(Deferred.fail(broken, new RequestError({ request, reason: "Encode", cause })), Effect.never)
        )
      )
    )
    const sent = HttpClientRequest.setBody(request, HttpBody.stream(parts, contentType, contentLength)).pipe(
      HttpClientRequest.setHeaders(request.headers)
    )
    return Effect.raceFirst(client.execute(sent), Deferred.await(broken))
  })

/** It waits behind what comes before it, and puts nothing on the wire. */
const nothing = new Uint8Array(0)
