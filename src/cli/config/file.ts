import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { redacted } from "../../Address.js"
import type { Declared } from "../argv.js"
import { nearestTo } from "../nearest.js"
import { keys as rulesKeys } from "../rules/file.js"
import * as Yaml from "../yaml.js"

/** The content of a configuration file: values by the long names of their options. */
export type Config = Readonly<Record<string, boolean | string | ReadonlyArray<string>>>

/** Options that a file has not: their values may be secret, or name the file itself. */
const unfit = ["token", "header", "config"]

/** YAML reads `8080` as a number. */
const Text = Schema.transform(Schema.Union(Schema.String, Schema.Number), Schema.String, {
  strict: true,
  decode: String,
  encode: (text) => text
}).pipe(
  Schema.filter((text) =>
    !text.includes("://") || redacted(text) === text || "expected an address without user, password and query"
  ),
  Schema.filter((text) => !/^--?[a-z]/i.test(text) || "expected a value, which an option is not")
)

const Texts = Schema.Union(
  Schema.Array(Text),
  Schema.transform(Text, Schema.Array(Schema.String), {
    strict: true,
    decode: (text) => [text],
    encode: ([text = ""]) => text
  })
)

const values: Readonly<Record<Declared["kind"], Schema.Schema.AnyNoContext>> = {
  flag: Schema.Boolean,
  text: Text,
  texts: Texts
}

const expected = { flag: "true or false", text: "a text", texts: "a list of texts" }

/** The values that a file may have: those of the options of its command, and the arguments of `connect`. */
const fieldsOf = (options: ReadonlyArray<Declared>, isClient: boolean): ReadonlyArray<Declared> => [
  ...options.filter(({ name }) => !unfit.includes(name)),
  { name: "log-level", kind: "text" },
  ...(isClient ? [{ name: "url", kind: "text" }, { name: "remotes", kind: "texts" }] as const : [])
]

/** What a configuration file holds. */
export interface Read {
  /** The values that have the type of their options. */
  readonly config: Config
  /** The faults of the others, each with line and column. Secrets of the file stand in no fault. */
  readonly faults: ReadonlyArray<string>
}

/** Takes the place of a faulty part of a list, so that the others keep theirs. No command line can hold it. */
export const removed = "\0"

/** Reads a configuration file. */
export const read = (text: string, options: ReadonlyArray<Declared>, isClient: boolean): Read => {
  const document = Yaml.parse(text)
  if (Either.isLeft(document)) return { config: {}, faults: [document.left] }
  const { content, keyAt, valueAt } = document.right
  const fields = fieldsOf(options, isClient)
  const schema = Schema.Struct(
    Object.fromEntries(fields.map(({ kind, name }) => [name, Schema.optional(values[kind])]))
  )
  const decoded = Schema.decodeUnknownEither(schema)(content, { errors: "all", onExcessProperty: "error" })
  if (Either.isRight(decoded)) return { config: decoded.right as Config, faults: [] }
  const faults = new Map<string, string>()
  const issues = ParseResult.ArrayFormatter.formatErrorSync(decoded.left)
  const inParts = new Set(issues.filter(({ path }) => path.length > 1).map(({ path: [key] }) => key))
  for (const { message, path } of issues) {
    const [key] = path
    const name = key === undefined ? "" : String(key)
    const id = path.map(String).join(" ")
    // the members of a union have a fault each
    if (faults.has(id) || (inParts.has(key!) && path.length === 1)) continue
    const field = fields.find((field) => field.name === name)
    const fault = key === undefined
      ? `${valueAt([])}: expected keys with values`
      : field === undefined
      ? `${keyAt([key])}: ${unknown(name, fields)}`
      : /^expected (an address|a value)/.test(message)
      ? `${valueAt(path)}: ${name}: ${message}`
      : `${valueAt(path)}: ${name}: expected ${expected[field.kind]}`
    faults.set(id, fault)
  }
  return { config: sound(content, fields), faults: [...faults.values()].sort(Yaml.byPlace) }
}

/** Returns the values that have the type of their options. */
const sound = (content: unknown, fields: ReadonlyArray<Declared>): Config => {
  const given = new Map(typeof content === "object" && content !== null ? Object.entries(content) : [])
  return Object.fromEntries(fields.flatMap(({ kind, name }) => {
    const value: unknown = given.get(name)
    const parts = kind === "texts" && Array.isArray(value)
      ? value.map((part) => Either.getOrElse(Schema.decodeUnknownEither(Text)(part), () => removed))
      : value
    return Either.match(Schema.decodeUnknownEither(values[kind])(parts), {
      onLeft: () => [],
      onRight: (value: Config[string]) => [[name, value] as const]
    })
  }))
}

/** Returns the content of a configuration file, or its faults. */
export const parse = (
  text: string,
  options: ReadonlyArray<Declared>,
  isClient: boolean
): Either.Either<Config, ReadonlyArray<string>> => {
  const { config, faults } = read(text, options, isClient)
  return faults.length === 0 ? Either.right(config) : Either.left(faults)
}

const unknown = (name: string, fields: ReadonlyArray<Declared>): string => {
  if (rulesKeys.has(name)) return `${name}: the key of a rules file, which --rules takes`
  if (name === "config") return "config: expected on the command line, and not in its own file"
  if (unfit.includes(name)) return `${name}: expected no secret in this file, so give token-file or the option`
  const nearest = nearestTo(name, fields.map(({ name }) => name))
  return `unknown key '${name.slice(0, 40)}'${nearest === undefined ? "" : `; did you mean '${nearest}'?`}`
}
