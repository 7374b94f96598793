import * as Arr from "effect/Array"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { shortestSecret } from "../../internal/text/shortestSecret.js"
import * as Place from "../forwards/place.js"
import { nearestTo } from "../nearest.js"
import type { Rules } from "../policy/policy.js"
import * as Rule from "../policy/rule.js"
import * as Yaml from "../yaml.js"

/** A rule as its option takes it. */
export const rule = (
  parse: (text: string) => Option.Option<Rule.Rule>,
  expected: string
): Schema.Schema<Rule.Rule, string> =>
  Schema.transformOrFail(Schema.String, Schema.declare((_: unknown): _ is Rule.Rule => true), {
    strict: true,
    decode: (text, _, ast) =>
      Option.match(parse(text), {
        onNone: () => {
          const fault = Place.fault(text)
          const message = `${fault === undefined ? `expected ${expected}, not` : `${fault} in`} ${text}`
          return ParseResult.fail(new ParseResult.Type(ast, text, message))
        },
        onSome: ParseResult.succeed
      }),
    encode: (rule) => ParseResult.succeed(Rule.format(rule))
  })

/** A digest of 32 bytes, as `sha256sum` or OpenSSL prints it: 64 hexadecimal digits, with or without colons. */
const Digest = Schema.transformOrFail(Schema.String, Schema.String, {
  strict: true,
  decode: (text, _, ast) => {
    const hex = text.replace(/^sha256:/i, "").replaceAll(":", "").toLowerCase()
    return /^[0-9a-f]{64}$/.test(hex)
      ? ParseResult.succeed(hex)
      : ParseResult.fail(new ParseResult.Type(ast, text, "expected sha256: and 64 hexadecimal digits"))
  },
  encode: (hex) => ParseResult.succeed(`sha256:${hex}`)
})

const list = <A, I>(item: Schema.Schema<A, I>) => Schema.optionalWith(Schema.Array(item), { default: () => [] })

const permissions = {
  allow: list(rule(Rule.parse, "host:ports, udp:host:ports, or a path")),
  "allow-remote": list(rule(Rule.parseListen, "[bind:]ports, udp:[bind:]ports, or a path"))
}

const UserName = Schema.String.pipe(Schema.pattern(/^[\w.@-]{1,64}$/))

/** Finds the digests that stand for two users: a client would be one of them, and nothing tells which. */
const shared = <K extends "tokens" | "certificates">(
  users: Readonly<Record<string, Readonly<Record<K, ReadonlyArray<string>>>>>,
  kind: K
): ReadonlyArray<Schema.FilterIssue> => {
  const owners = new Map<string, string>()
  return Object.entries(users).flatMap(([name, { [kind]: digests }]) =>
    digests.flatMap((digest, i) => {
      const owner = owners.get(digest) ?? name
      owners.set(digest, owner)
      return owner === name
        ? []
        : [{ path: [name, kind, i], message: `expected a digest of one user, and ${owner} has the same` }]
    })
  )
}

const Jwt = Schema.Struct({
  /** The shared secret of HS256, with the length that the relay demands of its secrets. */
  secret: Schema.optional(
    Schema.Redacted(Schema.String.pipe(
      Schema.minLength(shortestSecret, { message: () => `expected ${shortestSecret} characters or more` })
    ))
  ),
  /** The address of the public keys. */
  jwks: Schema.optional(
    Schema.String.pipe(Schema.pattern(/^https?:\/\/\S+$/, { message: () => "expected an http:// or https:// address" }))
  ),
  issuer: Schema.optional(Schema.String),
  audience: Schema.optional(Schema.String),
  /** The claim with the name of the user. */
  user: Schema.optionalWith(Schema.NonEmptyString, { default: () => "sub" })
}).pipe(
  Schema.filter(({ jwks, secret }) =>
    (jwks === undefined) !== (secret === undefined) || "expected either secret or jwks"
  )
)

const RulesFile = Schema.Struct({
  users: Schema.optionalWith(
    Schema.Record({
      key: UserName,
      value: Schema.Struct({ tokens: list(Digest), certificates: list(Digest), ...permissions })
    }).pipe(Schema.filter((users) => [...shared(users, "tokens"), ...shared(users, "certificates")])),
    { default: () => ({}) }
  ),
  jwt: Schema.optional(Jwt),
  /** What users of tokens by JWT may do who have no entry of their own. */
  default: Schema.optional(Schema.Struct(permissions))
})

/** The users of a server, and what each may do. */
export type RulesFile = typeof RulesFile.Type

/** The keys of a rules file. None of them is that of a configuration file. */
export const keys: ReadonlySet<string> = new Set(Object.keys(RulesFile.fields))

/** Whether a text is meant as a rules file: a map with one of its keys. */
export const isMeant = (text: string): boolean =>
  Either.match(Yaml.parse(text), {
    onLeft: () => false,
    onRight: ({ content }) =>
      typeof content === "object" && content !== null && Object.keys(content).some((key) => keys.has(key))
  })

/**
 * Returns the content of a rules file, or its faults, each in one line, with line and column. Secrets of the file stand
 * in no fault.
 */
export const parse = (text: string): Either.Either<RulesFile, Arr.NonEmptyReadonlyArray<string>> =>
  Either.flatMap(
    Either.mapLeft(Yaml.parse(text), Arr.of),
    ({ content, keyAt, valueAt }) =>
      Schema.decodeUnknownEither(RulesFile, { errors: "all", onExcessProperty: "error" })(content).pipe(
        Either.mapLeft((error) => {
          const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
          // a part that may be missing has a fault of its own beside the one in it
          const innermost = issues.filter(({ path }, i) =>
            !issues.some((other, j) =>
              path.every((key, k) => key === other.path[k]) && (other.path.length > path.length || j < i)
            )
          )
          const faults = innermost.map(({ _tag, message, path }) => {
            // the words of the schema are no words of the file, and may show a secret
            const fault = /^expected /.test(message)
              ? message
              : _tag === "Unexpected"
              ? unknown(path)
              : `expected ${expectedAt(path)}`
            const name = path.map(String).join(".")
            const place = _tag === "Unexpected" ? keyAt(path) : valueAt(path)
            return `${place}: ${name === "" ? fault : `${name}: ${fault}`}`
          })
          return faults.sort(Yaml.byPlace) as [string, ...Array<string>] // a schema that fails tells why
        })
      )
  )

/** Describes the fault of a key that the file does not have at this path. */
const unknown = (path: Yaml.Path): string => {
  if (path[0] === "users" && path.length === 2) return "expected a name of at most 64 letters, digits and . _ - @"
  const keys = keysAt(path.slice(0, -1))
  const nearest = nearestTo(String(path.at(-1)), keys)
  return `unknown key; ${nearest === undefined ? `expected ${listed(keys)}` : `did you mean '${nearest}'?`}`
}

/** The keys of the map at a path, which has fixed ones. */
const keysAt = ([part, user]: Yaml.Path): ReadonlyArray<string> =>
  part === undefined
    ? [...keys]
    : part === "jwt"
    ? Object.keys(Jwt.from.fields)
    : user === undefined
    ? Object.keys(permissions)
    : ["tokens", "certificates", ...Object.keys(permissions)]

const examples: Readonly<Record<string, string>> = {
  tokens: "digests, such as [\"sha256:...\"]",
  certificates: "digests, such as [\"sha256:...\"]",
  allow: "host:ports, such as [\"db:5432\"]",
  "allow-remote": "[bind:]ports, such as [\"8080\"]"
}

/** Describes the value at a path. */
const expectedAt = (path: Yaml.Path): string => {
  const [part, user] = path
  const inUser = path.slice(part === "users" ? 2 : 1)
  if (part === undefined) return `a map with ${listed([...keys])}`
  if (part === "jwt") return user === undefined ? `a map with ${listed(keysAt(path))}` : "a text"
  if (part === "users" && user === undefined) return "a map of users, such as {ada: {allow: [\"db:5432\"]}}"
  if (inUser.length === 0) return `a map with ${listed(keysAt(path))}, such as {allow: ["db:5432"]}`
  return inUser.length === 1 ? `a list of ${examples[String(inUser[0])]}` : "a text in quotes"
}

const listed = (keys: ReadonlyArray<string>): string => `${keys.slice(0, -1).join(", ")} or ${keys.at(-1)}`

export const rulesOf = (permissions: {
  readonly allow: ReadonlyArray<Rule.Rule>
  readonly "allow-remote": ReadonlyArray<Rule.Rule>
}): Rules => ({ connect: permissions.allow, listen: permissions["allow-remote"] })
