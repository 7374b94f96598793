import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Chunk from "effect/Chunk"
import * as Stream from "effect/Stream"

/**
 * Makes streamed request bodies wait for their reader. The platform's client for Node does not wait after the last
 * element of a `Chunk`. So a body of one-element chunks, such as one read from a `MuxStream`, would be buffered without
 * a bound.
 */
export const withBackpressure: (client: HttpClient.HttpClient) => HttpClient.HttpClient = HttpClient.mapRequest(
  (request) => {
    if (request.body._tag !== "Stream") return request
    const { contentLength, contentType, stream } = request.body
    const body = HttpBody.stream(Stream.mapChunks(stream, Chunk.append(nothing)), contentType, contentLength)
    return HttpClientRequest.setHeaders(HttpClientRequest.setBody(request, body), request.headers)
  }
)

/** An empty element, which makes the client wait for `drain` after the element before it. */
const nothing = new Uint8Array(0)
