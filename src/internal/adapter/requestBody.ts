import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Chunk from "effect/Chunk"
import * as Stream from "effect/Stream"

/**
 * Has the bodies of requests wait for whoever reads them. The platform's client for Node does not wait behind the last part of
 * a chunk, so that nothing would hold back a stream of single parts, such as one that reads a stream of ours.
 */
export const holdBodiesBack: (client: HttpClient.HttpClient) => HttpClient.HttpClient = HttpClient.mapRequest(
  (request) => {
    if (request.body._tag !== "Stream") return request
    const { contentLength, contentType, stream } = request.body
    const body = HttpBody.stream(Stream.mapChunks(stream, Chunk.append(nothing)), contentType, contentLength)
    return HttpClientRequest.setHeaders(HttpClientRequest.setBody(request, body), request.headers)
  }
)

/** A part that waits behind what comes before it, and puts nothing on the wire. */
const nothing = new Uint8Array(0)
