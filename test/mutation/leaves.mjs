import { mutation } from "./shared.mjs"

/** What can be tested without a session is tested without one: its own suites have to kill its mutants. */
export default mutation("leaves", "test/leaves", [
  "Frame",
  "internal/sendWindow",
  "internal/receiveWindow",
  "internal/windowTuner",
  "internal/halfClose",
  "internal/byteQueue"
])
