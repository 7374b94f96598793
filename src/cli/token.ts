import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Rejection } from "../TransportServer.js"

/** The header that shows the token. */
export const bearer = (token: Redacted.Redacted): string => `Bearer ${Redacted.value(token)}`

/** Digests of equal length, so that neither the content nor the length of the token shows in the time it takes. */
export const authorize = (token: Option.Option<Redacted.Redacted>) => {
  if (Option.isNone(token)) return undefined
  const expected = digest(bearer(token.value))
  const rejection: Rejection = { status: 401, headers: { "www-authenticate": "Bearer" } }
  return ({ headers }: Pick<IncomingMessage, "headers">): Effect.Effect<void, Rejection> =>
    timingSafeEqual(digest(headers.authorization ?? ""), expected) ? Effect.void : Effect.fail(rejection)
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
