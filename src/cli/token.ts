import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Rejection } from "../TransportServer.js"

/** Returns the value of the header `authorization` with the token. */
export const bearer = (token: Redacted.Redacted): string => `Bearer ${Redacted.value(token)}`

/**
 * Returns the check of a request's token, or undefined without a token. The check compares digests of equal length,
 * so its duration reveals neither the content nor the length of the token.
 */
export const authorize = (token: Option.Option<Redacted.Redacted>) => {
  if (Option.isNone(token)) return undefined
  const expected = digest(bearer(token.value))
  const rejection: Rejection = { status: 401, headers: { "www-authenticate": "Bearer" } }
  return ({ headers }: Pick<IncomingMessage, "headers">): Effect.Effect<void, Rejection> =>
    timingSafeEqual(digest(headers.authorization ?? ""), expected) ? Effect.void : Effect.fail(rejection)
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
