import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The files below these folders, by their path from the root. Folders of generated files are left out. */
const filesOf = (folders: ReadonlyArray<string>, extension: RegExp): ReadonlyArray<string> =>
  folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((file) => join(folder, file))
      .filter((file) => extension.test(file) && !/(^|\/)(build|node_modules)\//.test(file))
  )

const sources = filesOf(["src", "test"], /\.(ts|mjs|cjs)$/)
const documents = [
  ...["README.md", "CHANGELOG.md"].filter((file) => existsSync(join(root, file))),
  ...filesOf(["src", "test"], /\.md$/)
]

const linesOf = (file: string): ReadonlyArray<string> => readFileSync(join(root, file), "utf8").split("\n")

/** The literal text of each title of a test, with its line. */
const titlesOf = (file: string): ReadonlyArray<{ readonly at: string; readonly text: string }> => {
  const parsed = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true)
  const found: Array<{ readonly at: string; readonly text: string }> = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(it|test)\b/.test(node.expression.getText())) {
      const text = node.arguments[0] === undefined ? undefined : literal(node.arguments[0])
      const line = parsed.getLineAndCharacterOfPosition(node.getStart()).line + 1
      if (text !== undefined) found.push({ at: `${file}:${line}`, text })
    }
    ts.forEachChild(node, visit)
  }
  visit(parsed)
  return found
}

const literal = (title: ts.Expression): string | undefined => {
  if (ts.isStringLiteralLike(title)) return title.text
  if (!ts.isTemplateExpression(title)) return undefined
  return [title.head.text, ...title.templateSpans.map(({ literal }) => literal.text)].join("")
}

const longestTitle = 90
const columns = 120

/** Pronouns without an actor, and two words for "unlimited". */
const unclear = /\b((who|what)ever|(no|some)body|for (?:ever))\b/i

describe("test titles", () => {
  it(`titles of tests have at most ${longestTitle} literal characters`, () => {
    const titles = sources.filter((file) => file.startsWith("test/")).flatMap(titlesOf)
    expect(titles.length).toBeGreaterThan(500)
    const long = titles.filter(({ text }) => text.length > longestTitle)
    expect(long.map(({ at, text }) => `${at} ${text.length} ${text}`)).toEqual([])
  })
})

describe("sources, tests and documents", () => {
  it("sources, tests and documents name an actor instead of an indefinite pronoun", () => {
    const found = [...sources, ...documents].flatMap((file) =>
      linesOf(file).flatMap((line, index) => unclear.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : [])
    )
    expect(found).toEqual([])
  })
})

describe("Markdown files", () => {
  it(`documents have at most ${columns} columns outside tables and URLs`, () => {
    const wide = documents.flatMap((file) =>
      linesOf(file).flatMap((line, index) =>
        line.replace(/https?:\/\/\S+/g, "").length > columns && !line.trimStart().startsWith("|")
          ? [`${file}:${index + 1}`]
          : []
      )
    )
    expect(documents).toContain("test/README.md")
    expect(wide).toEqual([])
  })
})
