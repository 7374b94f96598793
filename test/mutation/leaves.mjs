import { mutation } from "./shared.mjs"

/** What can be tested without a session is tested without one: its own suites have to kill its mutants. */
export default mutation("leaves", "test/unit/internal", [
  "internal/wire/frame",
  "internal/wire/sendWindow",
  "internal/wire/receiveWindow",
  "internal/recv/windowTuner",
  "internal/wire/streamState",
  "internal/recv/boundedByteQueue"
])
