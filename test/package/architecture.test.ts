import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

interface Reach {
  /** Files of ours, by their path from the root. */
  readonly files: ReadonlyArray<string>
  /** What they import that is not ours. */
  readonly foreign: ReadonlyArray<string>
}

/** Everything that importing a file loads, followed to the border of the package. */
const reach = (entry: string): Reach => {
  if (!existsSync(join(root, entry))) throw new Error(`${entry} is missing: run \`npm run build\` first`)
  const extension = /(\.d)?\.[jt]s$/.exec(entry)![0]
  const files = new Set([entry])
  const foreign = new Set<string>()
  for (const file of files) {
    for (const name of imports(file)) {
      if (!name.startsWith(".")) foreign.add(name)
      else files.add(relative(root, join(root, dirname(file), name)).replace(/\.js$/, extension))
    }
  }
  return { files: [...files], foreign: [...foreign] }
}

/** What a file imports, of values and of types, at once or later. */
const imports = (file: string): Array<string> => {
  const found: Array<string> = []
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) && isSpecifier(node.parent)) found.push(node.text)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true))
  return found
}

const isSpecifier = (parent: ts.Node): boolean =>
  ts.isImportDeclaration(parent) ||
  ts.isExportDeclaration(parent) ||
  (ts.isLiteralTypeNode(parent) && ts.isImportTypeNode(parent.parent)) ||
  (ts.isCallExpression(parent) && parent.expression.kind === ts.SyntaxKind.ImportKeyword)

const portable = /^(effect|@effect\/platform)\//

describe("the portable root", () => {
  for (const [what, extension] of [["code", ".js"], ["types", ".d.ts"]] as const) {
    it(`needs nothing but effect and its platform, which run everywhere: ${what}`, () => {
      const { files, foreign } = reach(`dist/index${extension}`)
      expect(files).toContain(`dist/Session${extension}`)
      expect(foreign).toContain("effect/Effect")
      expect(foreign.filter((name) => !portable.test(name))).toEqual([])
    })

    it(`is not all that there is, and what needs Node shows: ${what}`, () => {
      const { foreign } = reach(`dist/NodeTransportServer${extension}`)
      expect(foreign.filter((name) => !portable.test(name))).toEqual(expect.arrayContaining(["ws"]))
    })
  }
})

describe("the core", () => {
  const isTransport = (file: string) => /^src\/(\w+Transport(Server)?\.ts|internal\/transport\/)/.test(file)
  const exported = reach("src/index.ts").files.filter((file) => /^src\/\w+\.ts$/.test(file) && file !== "src/index.ts")

  // A route is where a transport and a session meet.
  for (const file of exported.filter((file) => !isTransport(file) && file !== "src/SessionRoute.ts")) {
    it(`knows no transport, only the seam: ${file}`, () => {
      expect(reach(file).files.filter(isTransport)).toEqual([])
    })
  }

  it("is told from the transports", () => {
    expect(exported.filter(isTransport)).toContain("src/WebSocketTransport.ts")
    expect(reach("src/MemoryTransport.ts").files.filter(isTransport)).toContain("src/internal/transport/memory.ts")
  })
})

describe("the sources", () => {
  it("fit the head: no file is longer than 400 lines", () => {
    const lengths = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({ file, lines: readFileSync(join(root, "src", file), "utf8").trimEnd().split("\n").length }))
    expect(lengths.length).toBeGreaterThan(0)
    expect(lengths.filter(({ lines }) => lines > 400)).toEqual([])
  })
})
