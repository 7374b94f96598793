import { describe, expect, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** What the Go package exports. `Close` is there twice: of a session, and of a stream. */
const specification = [
  "DefaultCapacity",
  ...["AcceptTimeout", "BrokenPipe", "WriteTimeout", "ReadTimeout", "NoCapacity"].map((name) => `Err${name}`),
  ...["DuplicateStream", "SessionClosed", "InvalidDeadline", "KeepAliveExpired"].map((name) => `Err${name}`),
  ...["KeepAliveInterval", "StreamAcceptDeadline", "CloseCallback", "Log", "StreamBufferSize"],
  ...["Client", "Server", "Accept", "Addr", "Close", "IsClosed", "Open", "SetCloseCallback"],
  ...["Read", "Write", "Close", "LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline"]
]

interface Row {
  /** The last part of each qualified name in the first column: `Close` for `Session.Close(...)`. */
  readonly names: ReadonlyArray<string>
  readonly proofs: ReadonlyArray<{ readonly file: string; readonly test: string }>
}

/** The rows of the table under the heading that names the Go API, or another one. */
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

/** The names of the tests in a file, as patterns: those of a table of variants have holes. */
const titles = (file: string): Array<RegExp> => {
  if (!/^test\/.*\.test(-d)?\.ts$/.test(file) || !existsSync(join(root, file))) return []
  const found: Array<RegExp> = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(it|test)\b/.test(node.expression.getText())) {
      const [name] = node.arguments
      if (name !== undefined && ts.isStringLiteralLike(name)) found.push(pattern([name.text]))
      if (name !== undefined && ts.isTemplateExpression(name)) {
        found.push(pattern([name.head.text, ...name.templateSpans.map(({ literal }) => literal.text)]))
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true))
  return found
}

const pattern = (texts: ReadonlyArray<string>): RegExp =>
  new RegExp(`^${texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+")}$`)

describe("the table of the Go API", () => {
  const rows = parse(readFileSync(join(root, "test/e2e/interop/README.md"), "utf8"))

  it("has a row for everything that the Go package exports", () => {
    expect(missing(rows)).toEqual([])
  })

  it("names a test for every row, and that test exists", () => {
    expect(rows.length).toBeGreaterThan(0)
    expect(unproven(rows)).toEqual([])
  })

  it("would not pass with a row too few, or with a proof that is none", () => {
    const proof = "`test/package/specification.test.ts` › \"names a test for every row, and that test exists\""
    const names = specification.filter((name) => name !== "Log").map((name) =>
      `| \`x.${name}(a, b)\` | ours | ${proof} |`
    )
    const table = [
      "# Something else",
      "| Go | ours | test |",
      "| --- | --- | --- |",
      "| `Log` | ours | not in the right section |",
      "## The Go API beside ours",
      "| Go | ours \\| theirs | test |",
      "| --- | --- | --- |",
      ...names.slice(0, -1),
      "| `SetNothing` | ours | by trust |",
      "| `SetSomething` | ours | `test/package/specification.test.ts` › \"no such test\" |",
      "| `SetEverything` | ours | `test/package/no.test.ts` › \"would not pass\" |",
      "## The next section",
      names.at(-1)!
    ]
    const found = parse(table.join("\n"))
    expect(found).toHaveLength(names.length + 2)
    expect(missing(found)).toEqual(["Log", "SetWriteDeadline"])
    expect(unproven(found)).toEqual([
      "SetNothing: no test is named",
      "SetSomething: test/package/specification.test.ts has no test \"no such test\"",
      "SetEverything: test/package/no.test.ts has no test \"would not pass\""
    ])
  })
})

describe("the table of what a session survives", () => {
  it("names a test for every row, and that test exists", () => {
    const rows = parse(readFileSync(join(root, "test/README.md"), "utf8"), /^#+ What it survives/)
    expect(rows.length).toBeGreaterThan(10)
    expect(unproven(rows)).toEqual([])
  })
})
