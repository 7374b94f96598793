import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
export const demo = Command.make("demo", {}, () => Effect.void)
