import { mutation } from "./shared.mjs"

/** The suites of these modules need no session, and must kill the mutants alone. */
export default mutation("leaves", "test/unit/internal", [
  "internal/wire/frame",
  "internal/wire/sendWindow",
  "internal/recv/windowTuner",
  "internal/wire/streamState",
  "internal/recv/boundedByteQueue"
])
