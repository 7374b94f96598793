/**
 * A session id or a token as an end holds it between two losses: a text of one character for each byte. A `Uint8Array`
 * of 32 bytes takes 230 bytes, the text 48.
 */
export type Secret = string

export const toSecret = (bytes: Uint8Array): Secret => String.fromCharCode(...bytes)

export const toBytes = (secret: Secret): Uint8Array => Uint8Array.from(secret, (character) => character.charCodeAt(0))

export const randomSecret = (size: number): Secret => toSecret(crypto.getRandomValues(new Uint8Array(size)))

/** Compares in a time that does not depend on where the two differ. */
export const isEqual = (a: Secret, b: Secret): boolean => {
  let difference = a.length ^ b.length
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at)
  return difference === 0
}
