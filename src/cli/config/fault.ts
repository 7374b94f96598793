import * as Either from "effect/Either"
import { plainText } from "../../internal/text/plainText.js"
import type { Declared } from "../argv.js"
import * as Yaml from "../yaml.js"
import type { Config } from "./file.js"

/** A configuration file whose values stand among the arguments of a command. */
export interface Origin {
  readonly path: string
  readonly text: string
  /** The values that the command line has not replaced. */
  readonly config: Config
  /** The options of the command, by each of their names. */
  readonly options: ReadonlyMap<string, Declared>
}

/** A fault of a value, with the place as `line:column`. */
export interface Located {
  readonly key: string
  /** The part of a list. */
  readonly index: number | undefined
  readonly place: string
  /** The fault, with the key in place of a single option. */
  readonly told: string
}

/** Finds the value of a fault that the parser of the command line has found. */
export const locate = (fault: string, { config, options, text }: Origin): Located | undefined => {
  const { names, rest } = split(fault)
  const keys = names.flatMap((name) => keysOf(name, options)).filter((key) => Object.hasOwn(config, key))
  const found = keys.map((key) => ({ key, index: mentioned(fault, valuesOf(config, key)) }))
  const best = found.find(({ index }) => index !== undefined) ?? found[0]
  if (best === undefined) return undefined
  const told = names.length === 1 || rest === fault ? `${best.key}: ${rest}` : fault
  return { ...best, place: placeOf(text, best.key, best.index), told }
}

/** Puts the place in the file before a fault of a value. Returns other faults as they are. */
export const place = (fault: string, origin: Origin): string => {
  const located = locate(fault, origin)
  return located === undefined ? fault : `${origin.path}:${located.place}: ${located.told}`
}

/** The place of a value as `line:column`, or with an index that of a part of a list. */
export const placeOf = (text: string, key: string, index?: number): string =>
  Either.match(Yaml.parse(text), {
    onLeft: () => "1:1",
    onRight: ({ valueAt }) => valueAt(index === undefined ? [key] : [key, index])
  })

/** Separates the options that a fault names at its beginning from the rest. */
const split = (fault: string): { readonly names: ReadonlyArray<string>; readonly rest: string } => {
  const [, named, rest = ""] = /^((?:(?:--[\w-]+|-\w|<remote>)(?:, )?)+): (.*)$/s.exec(fault) ?? []
  if (named !== undefined) return { names: named.split(", "), rest }
  const [, valueless] = /^Expected a value following option: '(-\S+)'$/.exec(fault) ?? []
  if (valueless !== undefined) return { names: [valueless], rest: "expected a value" }
  return { names: fault.startsWith("cannot connect to ") ? ["--url"] : [], rest: fault }
}

/** A forward of `-L` may stand among the remotes, too. */
const keysOf = (name: string, options: ReadonlyMap<string, Declared>): ReadonlyArray<string> => {
  if (name === "<remote>") return ["remotes"]
  const key = options.get(name)?.name ?? name.replace(/^-+/, "")
  return /^(local|remote|dynamic|stdio)$/.test(key) ? [key, "remotes"] : [key]
}

const valuesOf = (config: Config, key: string): ReadonlyArray<string> => [config[key] ?? []].flat().map(String)

/** The index of the value that a fault shows. */
const mentioned = (fault: string, values: ReadonlyArray<string>): number | undefined => {
  const find = (shows: (value: string) => boolean) => {
    const index = values.findIndex((value) => value !== "" && shows(value))
    return index === -1 ? undefined : index
  }
  const addresses = fault.match(/\S+:\d+(?=[ ,;]|$)/g) ?? []
  return find((value) => fault.includes(`'${plainText(value).slice(0, 80)}'`)) ??
    find((value) => fault.includes(value)) ??
    find((value) => addresses.some((address) => value.includes(address)))
}
