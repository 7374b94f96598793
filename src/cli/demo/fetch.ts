import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { digest, type Sample } from "./files.js"

/** How the fetching of one file went. */
export interface Fetched {
  readonly sample: Sample
  readonly millis: number
  /** Undefined when it arrived as it is on the disk. */
  readonly fault: string | undefined
}

/** Fetches a file and compares it with the disk. */
export const fetchFile = (origin: string, sample: Sample) =>
  Effect.gen(function*() {
    const [elapsed, arrived] = yield* HttpClient.get(`${origin}${sample.url}`).pipe(
      Effect.flatMap(HttpClientResponse.filterStatusOk),
      Effect.flatMap((response) =>
        Stream.runFold(response.stream, createHash("sha256"), (hash, chunk) => hash.update(chunk))
      ),
      Effect.map((hash) => hash.digest("hex")),
      Effect.either,
      Effect.timed
    )
    const millis = Math.round(Duration.toMillis(elapsed))
    const fault = arrived._tag === "Left"
      ? arrived.left.message
      : arrived.right === (yield* digest(sample))
      ? undefined
      : "its sha-256 differs from the disk's"
    return { sample, millis, fault } satisfies Fetched
  })

/** A connection for every request, so that every file is a stream of its own. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.provide(
  NodeHttpClient.layerWithoutAgent,
  NodeHttpClient.makeAgentLayer({ keepAlive: false })
)
