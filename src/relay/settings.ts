import * as Duration from "effect/Duration"
import type { Service } from "../RelayDirectory.js"

export interface Limits {
  readonly maxAgents: number
  readonly maxAgentsPerName: number
  readonly maxStreams: number
  readonly maxStreamsPerName: number
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
}

/** What joins this node with others. */
export interface Cluster {
  readonly directory: Service
  readonly id: string
  readonly url: string | undefined
  readonly secret: string
  readonly ttlMillis: number
}

export interface Settings {
  readonly secrets: ReadonlyArray<string>
  readonly audience: string | undefined
  readonly domain: string | undefined
  readonly publicUrl: string | undefined
  readonly answerTimeout: Duration.DurationInput
  readonly stallTimeout: Duration.DurationInput
  readonly holdTimeout: Duration.DurationInput
  readonly limits: Limits
  readonly cluster: Cluster | undefined
}

/** The audience of the tokens of clients that open streams. No token of an agent has it. */
export const clientAudience = "wsmux-relay-client"

export const millis = (duration: Duration.DurationInput): number => Math.min(Duration.toMillis(duration), longestTimer)

/** Node fires a timer with a longer delay after one millisecond. */
const longestTimer = 2 ** 31 - 1
