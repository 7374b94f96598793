import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createRemoteJWKSet, jwtVerify, type JWTVerifyOptions } from "jose"
import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { TLSSocket } from "node:tls"
import type { Rejection } from "../../TransportServer.js"
import { decide, type Policy, refused, type User } from "../policy/policy.js"
import { type RulesFile, rulesOf } from "./file.js"

/**
 * A user, and by what the client has shown that it is one: `token:` or `certificate:` with a digest, or `jwt:` with
 * that of how JWTs are verified. A client that shows another token does not resume a session, since each open is judged
 * by the token of its beginning. The bounds of a principal hold for each of these.
 */
export class Client extends Data.Class<{ readonly user: string; readonly credential: string }> {}

/** Authenticates clients by a rules file, and judges what they ask for. */
export interface Users extends Policy {
  readonly authenticate: (request: IncomingMessage) => Effect.Effect<Client, Rejection>
  /**
   * Whether the file still has the token or certificate of a client, or verifies JWTs as when the client connected. The
   * expiry of a JWT counts at that time only.
   */
  readonly isCurrent: (client: Client) => boolean
}

/**
 * The names of users by JWT. Such a user keeps no rights of an entry that is removed, but for those of `default`. A
 * name in a rules file has no colon.
 */
const byJwt = "jwt:"

/**
 * Makes the users of a rules file. A user is found by the digest of the token, so the time of the search tells nothing
 * about a token.
 */
export const make = (file: RulesFile): Users => {
  const byCredential = new Map<string, string>(
    Object.entries(file.users).flatMap(([user, { certificates, tokens }]) => [
      ...tokens.map((digest) => [`token:${digest}`, user] as const),
      ...certificates.map((digest) => [`certificate:${digest}`, user] as const)
    ])
  )
  const find = (credential: string): Client | undefined => {
    const user = byCredential.get(credential)
    return user === undefined ? undefined : new Client({ user, credential })
  }
  const verify = file.jwt === undefined ? undefined : verifier(file.jwt)
  const ofJwt = `jwt:${file.jwt === undefined ? "" : digestOf(file.jwt)}`
  return {
    authenticate: (request) =>
      Effect.gen(function*() {
        const certified = find(`certificate:${fingerprintOf(request)}`)
        if (certified !== undefined) return certified
        const token = /^Bearer ([\x21-\x7e]+)$/.exec(request.headers.authorization ?? "")?.[1]
        if (token === undefined) return yield* unauthorized
        const known = find(`token:${sha256(token)}`)
        if (known !== undefined) return known
        if (verify === undefined) return yield* unauthorized
        return new Client({ user: yield* verify(token), credential: ofJwt })
      }),
    isCurrent: ({ credential, user }) =>
      credential.startsWith("jwt:") ? credential === ofJwt : byCredential.get(credential) === user,
    decide: (user, target) => {
      const permissions = permissionsOf(file, user)
      return permissions === undefined ? refused : decide(rulesOf(permissions), target)
    }
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")

/** The digest of how JWTs are verified. Another secret or issuer takes back what the former ones have signed. */
const digestOf = ({ audience, issuer, jwks, secret, user }: NonNullable<RulesFile["jwt"]>): string =>
  sha256(JSON.stringify([audience, issuer, jwks, secret && Redacted.value(secret), user]))

const unauthorized = Effect.fail<Rejection>({ status: 401, headers: { "www-authenticate": "Bearer" } })

const permissionsOf = (file: RulesFile, user: User) => {
  if (user === undefined) return undefined
  const name = user.startsWith(byJwt) ? user.slice(byJwt.length) : user
  const entry = Object.hasOwn(file.users, name) ? file.users[name] : undefined
  return entry ?? (user.startsWith(byJwt) ? file.default : undefined)
}

/** The digest of a client certificate that an authority of `--tls-client-ca` has signed. Empty without one. */
const fingerprintOf = ({ socket }: IncomingMessage): string => {
  const { authorized, getPeerCertificate } = socket as Partial<TLSSocket>
  if (authorized !== true || getPeerCertificate === undefined) return ""
  const { fingerprint256 } = (socket as TLSSocket).getPeerCertificate()
  return fingerprint256?.replaceAll(":", "").toLowerCase() ?? "" // of an empty certificate it is undefined
}

/** The algorithms of public keys. HS256 is left out: a public key must not serve as a shared secret. */
const publicKeyAlgorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

const verifier = ({ audience, issuer, jwks, secret, user }: NonNullable<RulesFile["jwt"]>) => {
  const options: JWTVerifyOptions = {
    algorithms: secret === undefined ? publicKeyAlgorithms : ["HS256"],
    requiredClaims: ["exp", user],
    clockTolerance: 5,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience })
  }
  const key = secret === undefined
    ? createRemoteJWKSet(new URL(jwks!), { timeoutDuration: 5000 })
    : new TextEncoder().encode(Redacted.value(secret))
  return (token: string): Effect.Effect<string, Rejection> =>
    Effect.tryPromise(() => typeof key === "function" ? jwtVerify(token, key, options) : jwtVerify(token, key, options))
      .pipe(
        Effect.map(({ payload }) => payload[user]),
        Effect.filterOrFail((name): name is string => typeof name === "string" && /^[\w.@|-]{1,64}$/.test(name)),
        Effect.matchEffect({
          onFailure: () => unauthorized,
          onSuccess: (name) => Effect.succeed(`${byJwt}${name}`)
        })
      )
}
