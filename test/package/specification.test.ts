import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The exports of the Go package. `Close` occurs twice: of a session, and of a stream. */
const specification = [
  "DefaultCapacity",
  ...["AcceptTimeout", "BrokenPipe", "WriteTimeout", "ReadTimeout", "NoCapacity"].map((name) => `Err${name}`),
  ...["DuplicateStream", "SessionClosed", "InvalidDeadline", "KeepAliveExpired"].map((name) => `Err${name}`),
  ...["KeepAliveInterval", "StreamAcceptDeadline", "CloseCallback", "Log", "StreamBufferSize"],
  ...["Client", "Server", "Accept", "Addr", "Close", "IsClosed", "Open", "SetCloseCallback"],
  ...["Read", "Write", "Close", "LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline"]
]

interface Row {
  /** The last part of each qualified name in the first column, such as `Close` of `Session.Close(...)`. */
  readonly names: ReadonlyArray<string>
  readonly proofs: ReadonlyArray<{ readonly file: string; readonly test: string }>
}

/** The rows of the table under a heading, which is the heading of the Go API unless the caller names another one. */
const parse = (markdown: string, heading = /^#+ .*Go API/): Array<Row> => {
  const section = markdown.split(/^(?=#+ )/m).find((part) => heading.test(part)) ?? ""
  const [, , ...rows] = section.split("\n").filter((line) => line.startsWith("|"))
  return rows.map((row) => {
    const cells = row.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/)
    return {
      names: [...(cells[0] ?? "").matchAll(/`(?:\w+\.)*(\w+)[^`]*`/g)].map((match) => match[1]!),
      proofs: [...(cells.at(-1) ?? "").matchAll(/`([^`]+)` › "([^"]+)"/g)]
        .map((match) => ({ file: match[1]!, test: match[2]! }))
    }
  })
}

const missing = (rows: ReadonlyArray<Row>): Array<string> => {
  const present = rows.flatMap(({ names }) => names)
  return specification.filter((name) => {
    const index = present.indexOf(name)
    if (index >= 0) present.splice(index, 1)
    return index < 0
  })
}

const unproven = (rows: ReadonlyArray<Row>): Array<string> =>
  rows.flatMap(({ names, proofs }) => [
    ...proofs.length === 0 ? [`${names.join(", ")}: no test is named`] : [],
    ...proofs.filter(({ file, test }) => !titles(file).some((title) => title.test(test)))
      .map(({ file, test }) => `${names.join(", ")}: ${file} has no test "${test}"`)
  ])

/** The fewest characters of a title that are literal. A title made of variables alone would match every citation. */
const fewestLiteral = 20

const titles = (file: string): Array<RegExp> =>
  /^test\/.*(\.test(-d)?|Suite)\.ts$/.test(file) && existsSync(join(root, file)) && runs(file)
    ? titlesOf(readFileSync(join(root, file), "utf8"))
    : []

/** Whether the file is one of tests, or a suite that a file of tests in the same folder imports. */
const runs = (file: string): boolean =>
  !file.endsWith("Suite.ts") ||
  readdirSync(join(root, dirname(file))).some((name) =>
    name.endsWith(".test.ts") && read(join(dirname(file), name)).includes(`"./${basename(file, ".ts")}.js"`)
  )

/** The patterns of the test titles in a source. A variable in a title matches any text. */
const titlesOf = (text: string): Array<RegExp> => {
  const found: Array<RegExp> = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(it|test)\b/.test(node.expression.getText())) {
      const [name] = node.arguments
      const texts = name === undefined ? [] : literals(name)
      if (texts.length === 1 || texts.join("").trim().length >= fewestLiteral) found.push(pattern(texts))
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile("titles.ts", text, ts.ScriptTarget.Latest, true))
  return found
}

/** The literal parts of a title, between its variables. An expression of another kind has none. */
const literals = (name: ts.Node): ReadonlyArray<string> => {
  if (ts.isStringLiteralLike(name)) return [name.text]
  if (!ts.isTemplateExpression(name)) return []
  return [name.head.text, ...name.templateSpans.map(({ literal }) => literal.text)]
}

const pattern = (texts: ReadonlyArray<string>): RegExp =>
  new RegExp(`^${texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+")}$`)

const read = (file: string): string => readFileSync(join(root, file), "utf8")

describe("test/e2e/interop/README.md", () => {
  const rows = parse(read("test/e2e/interop/README.md"))

  it("the table of the Go API has a row for every export of the Go package", () => {
    expect(missing(rows)).toEqual([])
  })

  it("the table of the Go API cites an existing test in every row", () => {
    expect(rows.length).toBeGreaterThan(0)
    expect(unproven(rows)).toEqual([])
  })
})

describe("test/README.md", () => {
  it("the table of what a session survives cites an existing test in every row", () => {
    const rows = parse(read("test/README.md"), /^#+ What it survives/)
    expect(rows.length).toBeGreaterThan(10)
    expect(unproven(rows)).toEqual([])
  })
})

describe("the check of citations", () => {
  it("the check reports missing rows, rows without a test, and citations of no test", () => {
    const title = "the table of the Go API cites an existing test in every row"
    const proof = `\`test/package/specification.test.ts\` › "${title}"`
    const names = specification.filter((name) => name !== "Log").map((name) =>
      `| \`x.${name}(a, b)\` | ours | ${proof} |`
    )
    const table = [
      "# Something else",
      "| Go | ours | test |",
      "| --- | --- | --- |",
      "| `Log` | ours | in another section |",
      "## The Go API beside ours",
      "| Go | ours \\| theirs | test |",
      "| --- | --- | --- |",
      ...names.slice(0, -1),
      "| `SetNothing` | ours | by trust |",
      "| `SetSomething` | ours | `test/package/specification.test.ts` › \"no such test\" |",
      `| \`SetEverything\` | ours | \`test/package/no.test.ts\` › "${title}" |`,
      "## The next section",
      names.at(-1)!
    ]
    const found = parse(table.join("\n"))
    expect(found).toHaveLength(names.length + 2)
    expect(missing(found)).toEqual(["Log", "SetWriteDeadline"])
    expect(unproven(found)).toEqual([
      "SetNothing: no test is named",
      "SetSomething: test/package/specification.test.ts has no test \"no such test\"",
      `SetEverything: test/package/no.test.ts has no test "${title}"`
    ])
  })

  it("the check matches a title of variables only by 20 literal characters or more", () => {
    const matches = (title: string, citation: string) =>
      titlesOf(`it(${title}, () => {})`).some((pattern) => pattern.test(citation))
    expect(matches("`${who} ${what}`", "a session survives everything")).toBe(false)
    expect(matches("`fails ${how} when ${what}`", "fails at once when the peer ends")).toBe(false)
    expect(matches("`Session fails ${how} when the ${side} ends`", "Session fails at once when the peer ends")).toBe(
      true
    )
    expect(matches("`Session fails ${how} when the ${side} ends`", "Session fails at once when no one ends")).toBe(
      false
    )
    expect(matches("\"is closed\"", "is closed")).toBe(true)
    expect(matches("title", "is closed")).toBe(false)
  })
})
