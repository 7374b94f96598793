import { mutation } from "./shared.mjs"

export default mutation("streams", "test/unit", [
  "internal/recv/recvHalf",
  "internal/session/streamProtocol",
  "internal/session/handle",
  "internal/send/sendHalf",
  "internal/send/sendScheduler"
])
