import type * as ValidationError from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { X509Certificate } from "node:crypto"
import { createSecureContext } from "node:tls"
import { type TextFile, usage } from "./options.js"

/** The certificate and the key of one end. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Checks that both files of a pair are given, and that TLS takes them. */
export const keyPair = (
  names: string,
  cert: Option.Option<TextFile>,
  key: Option.Option<TextFile>
): Effect.Effect<Option.Option<KeyPair>, ValidationError.ValidationError> =>
  Effect.gen(function*() {
    if (Option.isNone(cert) && Option.isNone(key)) return Option.none()
    if (Option.isNone(cert) || Option.isNone(key)) return yield* usage(`${names}: give both`)
    const pair = { cert: cert.value.text, key: key.value.text }
    yield* Effect.try({
      try: () => {
        if (pair.cert === "" || pair.key === "") throw new Error() // node:tls ignores an empty text
        createSecureContext(pair)
      },
      catch: () => `${names}: expected a certificate (PEM) and its key in ${cert.value.path} and ${key.value.path}`
    }).pipe(Effect.catchAll(usage))
    return Option.some(pair)
  })

/** The text of a file with a certificate. `node:tls` ignores an unreadable one, and then trusts no peer. */
export const certificate = (name: string, { path, text }: TextFile) =>
  Effect.try({
    try: () => {
      new X509Certificate(text)
      return text
    },
    catch: () => `--${name}: ${path} holds no certificate (PEM)`
  }).pipe(Effect.catchAll(usage))
