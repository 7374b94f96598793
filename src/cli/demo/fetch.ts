import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { digest, type Sample } from "./files.js"

/** The result of one download. */
export interface Fetched {
  readonly sample: Sample
  readonly millis: number
  /** The difference from the file on the disk, or undefined if the bytes are equal. */
  readonly fault: string | undefined
}

/** Downloads a file, and compares the bytes with the file on the disk. */
export const fetchFile = (origin: string, sample: Sample) =>
  Effect.gen(function*() {
    const [elapsed, download] = yield* HttpClient.get(`${origin}${sample.url}`).pipe(
      Effect.flatMap(HttpClientResponse.filterStatusOk),
      Effect.flatMap((response) =>
        Stream.runFold(response.stream, createHash("sha256"), (hash, chunk) => hash.update(chunk))
      ),
      Effect.map((hash) => hash.digest("hex")),
      Effect.either,
      Effect.timed
    )
    const millis = Math.round(Duration.toMillis(elapsed))
    const fault = download._tag === "Left"
      ? download.left.message
      : download.right === (yield* digest(sample))
      ? undefined
      : "the SHA-256 differs from that of the file on the disk"
    return { sample, millis, fault } satisfies Fetched
  })

/** Dials a connection per request, so that each file has a stream of its own. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.provide(
  NodeHttpClient.layerWithoutAgent,
  NodeHttpClient.makeAgentLayer({ keepAlive: false })
)
