import * as Effect from "effect/Effect"
import { type PartialSettings, SessionConfig, type Settings } from "../../SessionConfig.js"
import type { InvalidConfiguration } from "../../WsmuxError.js"
import { merge, validate } from "./validate.js"

/** The given settings, completed by the `SessionConfig` in the context. */
export const resolve = (given: PartialSettings = {}): Effect.Effect<Settings, InvalidConfiguration> =>
  Effect.flatMap(SessionConfig, (provided) => validate(merge(provided, given)))
