import { mutation } from "./shared.mjs"

export default mutation("streams", "test/session", [
  "internal/incoming",
  "internal/stream",
  "internal/muxStream",
  "internal/outgoing",
  "internal/outbox"
])
