import { createHmac, timingSafeEqual } from "node:crypto"

/**
 * JSON Web Tokens by HS256, the only algorithm of websocktunnel. They need one HMAC, so the library takes no package
 * for them.
 */

export type Claims = Readonly<Record<string, unknown>>

/** Returns the signed token of the claims. */
export const sign = (claims: Claims, secret: string): string => {
  const content = [{ alg: "HS256", typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".")
  return `${content}.${macOf(content, secret).toString("base64url")}`
}

/**
 * Returns the claims of a token that one of the secrets has signed, and that is valid at this time in seconds. Returns
 * undefined for every other text. A token must have `exp` and `nbf`, as websocktunnel demands.
 */
export const verify = (token: string, secrets: ReadonlyArray<string>, now: number): Claims | undefined => {
  const [, content, mac] = /^([\w-]+\.[\w-]+)\.([\w-]+)$/.exec(token.length <= maxLength ? token : "") ?? []
  if (content === undefined || mac === undefined) return undefined
  const [header, claims] = content.split(".").map(parse)
  if (header?.alg !== "HS256" || claims === undefined) return undefined
  const given = Buffer.from(mac, "base64url")
  // all secrets are tried, so that the time tells nothing about them
  const isSigned = secrets.map((secret) => isEqual(macOf(content, secret), given)).includes(true)
  if (!isSigned) return undefined
  const { exp, nbf } = claims
  return isTime(exp) && isTime(nbf) && nbf <= now && now < exp ? claims : undefined
}

/** Returns the claims of a token without any check. Returns undefined for a text of another form. */
export const unverified = (token: string): Claims | undefined =>
  token.length <= maxLength && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token) ? parse(token.split(".")[1]!) : undefined

/**
 * The second in which a token was made. Tokens of websocktunnel have `nbf`, and others have `iat` as well. Redis keeps
 * 14 digits of a number.
 */
export const madeAt = ({ iat, nbf }: Claims): number => Math.floor(isTime(iat) ? iat : isTime(nbf) ? nbf : 0)

/** Whether a token is meant for this audience. Without an expected one, a token must name none. */
export const isFor = ({ aud }: Claims, audience: string | undefined): boolean =>
  aud === undefined ? audience === undefined : (Array.isArray(aud) ? aud : [aud]).includes(audience)

/** The most characters of a token that are looked at. Node's limit on all headers of a request is 16 KiB. */
const maxLength = 8192

const isTime = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value) && value >= 0

const macOf = (content: string, secret: string): Buffer => createHmac("sha256", secret).update(content).digest()

const isEqual = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b)

const parse = (part: string): Claims | undefined => {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString())
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Claims : undefined
  } catch {
    return undefined
  }
}
