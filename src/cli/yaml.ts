import * as Either from "effect/Either"
import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml"

/** The path of a part of a document: keys of maps, and indexes of lists. */
export type Path = ReadonlyArray<PropertyKey>

/** A document of YAML, with the places of its parts as `line:column`. */
export interface Document {
  readonly content: unknown
  /** The place of a value, or of the nearest part around it that has a place of its own. */
  readonly valueAt: (path: Path) => string
  /** The place of the last key of a path. */
  readonly keyAt: (path: Path) => string
}

/** Aliases that repeat each other could make a small file large. */
const maxAliasCount = 100

/** A text of the file may stand behind a colon, and may be a secret. */
const withoutText = (message: string): string => message.replace(/:\s.*$/s, "")

/** Parses YAML. Returns the first fault with its place when the text is malformed. The fault shows no text of it. */
export const parse = (text: string): Either.Either<Document, string> => {
  const lines = new LineCounter()
  // the package would warn of odd keys by a process warning, with their text
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines, logLevel: "error" })
  const at = (offset: number) => {
    const { col, line } = lines.linePos(offset)
    return `${line}:${col}`
  }
  const [broken] = [...document.errors, ...document.warnings]
  if (broken !== undefined) return Either.left(`${at(broken.pos[0])}: ${withoutText(broken.message)}`)
  const nodeAt = (path: Path) => path.length === 0 ? document.contents : document.getIn(path, true)
  const valueAt = (path: Path): string => {
    for (let length = path.length; length > 0; length--) {
      const node = nodeAt(path.slice(0, length))
      if (isNode(node) && node.range != null) return at(node.range[0])
    }
    return at(document.contents?.range?.[0] ?? 0)
  }
  const keyAt = (path: Path): string => {
    const parent = nodeAt(path.slice(0, -1))
    const pair = isMap(parent)
      ? parent.items.find(({ key }) => isScalar(key) && String(key.value) === String(path.at(-1)))
      : undefined
    return isNode(pair?.key) && pair.key.range != null ? at(pair.key.range[0]) : valueAt(path.slice(0, -1))
  }
  return Either.try({
    try: () => ({ content: document.toJS({ maxAliasCount }) ?? {}, valueAt, keyAt }),
    catch: (error) => `1:1: ${withoutText(error instanceof Error ? error.message : String(error))}`
  })
}

/** Orders texts that begin with `line:column`. */
export const byPlace = (a: string, b: string): number => {
  const [lineA = 0, columnA = 0] = a.split(":").map(Number)
  const [lineB = 0, columnB = 0] = b.split(":").map(Number)
  return lineA - lineB || columnA - columnB
}
