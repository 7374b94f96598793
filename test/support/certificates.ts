import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto"

/** A certificate authority of the test, with as much of X.509 as TLS checks. */
export interface Authority {
  /** The certificate of the authority (PEM), for ends that trust it. */
  readonly cert: string
  readonly key: string
  /** Issues a certificate that ends at this time or in an hour, and answers with the certificate and its key. */
  readonly issue: (name: string, end?: Date) => { readonly cert: string; readonly key: string }
}

export const makeAuthority = (name: string): Authority => {
  const own = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const certify = (subject: string, key: KeyObject, isAuthority: boolean, end?: Date) =>
    pem("CERTIFICATE", certificate({ subject, key, isAuthority, issuer: name, signer: own.privateKey, end }))
  const textOf = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString()
  return {
    cert: certify(name, own.publicKey, true),
    key: textOf(own.privateKey),
    issue: (subject, end) => {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
      return { cert: certify(subject, publicKey, false, end), key: textOf(privateKey) }
    }
  }
}

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString("base64").replace(/.{1,64}/g, "$&\n")}-----END ${label}-----\n`

// The part of DER (X.690) that a certificate needs.

const der = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const content = Buffer.concat(contents)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), content])
}
const sequence = (...contents: ReadonlyArray<Uint8Array>) => der(0x30, ...contents)
const hex = (text: string) => Buffer.from(text, "hex")
const integer = (bytes: Uint8Array) => der(0x02, bytes)
const time = (date: Date) =>
  der(0x17, Buffer.from(date.toISOString().replace(/^..(..)-(..)-(..)T(..):(..):(..).*/, "$1$2$3$4$5$6Z")))
const bits = (content: Uint8Array) => der(0x03, Buffer.of(0), content)
const octets = (content: Uint8Array) => der(0x04, content)

const commonName = hex("0603550403")
const basicConstraints = hex("0603551d13")
const subjectAltName = hex("0603551d11")
const ecdsaWithSha256 = sequence(hex("06082a8648ce3d040302"))
const yes = hex("0101ff")

const distinguished = (name: string) => sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from(name)))))

interface Description {
  readonly subject: string
  readonly key: KeyObject
  readonly isAuthority: boolean
  readonly issuer: string
  readonly signer: KeyObject
  readonly end: Date | undefined
}

/** An X.509 certificate (RFC 5280) for 127.0.0.1, valid from a day ago until its end, by default in an hour. */
const certificate = ({ end, isAuthority, issuer, key, signer, subject }: Description): Buffer => {
  const publicKey = key.export({ type: "spki", format: "der" })
  const serial = createHash("sha256").update(publicKey).digest().subarray(0, 8)
  serial[0] = serial[0]! & 0x7f | 0x40 // positive, and no shorter
  const hour = 3_600_000
  const extensions = [
    sequence(basicConstraints, yes, octets(isAuthority ? sequence(yes) : sequence())),
    ...(isAuthority ? [] : [sequence(subjectAltName, octets(sequence(der(0x87, Buffer.of(127, 0, 0, 1)))))])
  ]
  const content = sequence(
    der(0xa0, integer(Buffer.of(2))), // version 3
    integer(serial),
    ecdsaWithSha256,
    distinguished(issuer),
    sequence(time(new Date(Date.now() - 24 * hour)), time(end ?? new Date(Date.now() + hour))),
    distinguished(subject),
    publicKey,
    der(0xa3, sequence(...extensions))
  )
  return sequence(content, ecdsaWithSha256, bits(sign("sha256", content, signer)))
}
