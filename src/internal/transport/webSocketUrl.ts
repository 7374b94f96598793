import { redacted } from "../../Address.js"
import { ConnectFailure } from "../../WsmuxError.js"
import { isWebSocketUrl } from "../text/isWebSocketUrl.js"

export { isWebSocketUrl }

/**
 * Returns the failure of a WebSocket constructor that threw. Platforms quote a malformed URL in their error, with any
 * secret in the URL, so the cause of `InvalidUrl` is an error of ours.
 */
export const constructorFailure = (url: string, cause: unknown): ConnectFailure =>
  new ConnectFailure({
    url: redacted(url),
    ...(isWebSocketUrl(url)
      ? { reason: "Unreachable", cause }
      : { reason: "InvalidUrl", cause: new SyntaxError("neither ws:// nor wss://") })
  })
