import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

interface Reach {
  /** Files of this package, by their path from the root. */
  readonly files: ReadonlyArray<string>
  /** The modules of other packages that these files import. */
  readonly foreign: ReadonlyArray<string>
}

/** Follows the imports of a file through this package. */
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

/** The specifiers that a file imports: values and types, static and dynamic imports. */
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
  it("index.ts reaches no file or package of Node, by a value or by a type", () => {
    const { files, foreign } = reach("src/index.ts")
    expect(files).toContain("src/internal/transport/standardTransport.ts")
    expect(files.filter((file) => file.startsWith("src/internal/transport/node/"))).toEqual([])
    expect(foreign.filter((name) => !portable.test(name))).toEqual([])
  })

  it("the check of index.ts sees the files and packages of Node in another module", () => {
    const { files, foreign } = reach("src/NodeTransport.ts")
    expect(files).toContain("src/internal/transport/node/frameReader.ts")
    expect(foreign).toEqual(expect.arrayContaining(["ws", "node:http"]))
  })

  for (const [what, extension] of [["code", ".js"], ["types", ".d.ts"]] as const) {
    it(`portable root imports only effect and @effect/platform in its ${what}`, () => {
      const { files, foreign } = reach(`dist/index${extension}`)
      expect(files).toContain(`dist/Session${extension}`)
      expect(foreign).toContain("effect/Effect")
      expect(foreign.filter((name) => !portable.test(name))).toEqual([])
    })

    it(`reach finds the import of ws in the ${what} of NodeTransportServer`, () => {
      const { foreign } = reach(`dist/NodeTransportServer${extension}`)
      expect(foreign.filter((name) => !portable.test(name))).toEqual(expect.arrayContaining(["ws"]))
    })
  }
})

describe("the core", () => {
  /** The parts of transports that resumable sessions share: none of them opens a connection. */
  const shared = /^src\/internal\/transport\/(closeCode|connectionHandler|listenerBuffer|resuming)\.ts$/
  const isTransport = (file: string) =>
    /^src\/(\w+Transport(Server)?\.ts|internal\/transport\/)/.test(file) && !shared.test(file)
  const exported = reach("src/index.ts").files.filter((file) => /^src\/\w+\.ts$/.test(file) && file !== "src/index.ts")

  // SessionRoute joins a transport and a session.
  for (const file of exported.filter((file) => !isTransport(file) && file !== "src/SessionRoute.ts")) {
    it(`core module reaches no transport: ${file}`, () => {
      expect(reach(file).files.filter(isTransport)).toEqual([])
    })
  }

  it("the check of the core recognises the modules of transports", () => {
    expect(exported.filter(isTransport)).toContain("src/WebSocketTransport.ts")
    expect(reach("src/MemoryTransport.ts").files.filter(isTransport)).toContain("src/internal/transport/memory.ts")
  })
})

describe("src", () => {
  it("src has no file of more than 400 lines", () => {
    const lengths = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({ file, lines: readFileSync(join(root, "src", file), "utf8").trimEnd().split("\n").length }))
    expect(lengths.length).toBeGreaterThan(0)
    expect(lengths.filter(({ lines }) => lines > 400)).toEqual([])
  })
})

describe("the edge to Effect 4", () => {
  const page = readFileSync(join(root, "src/README.md"), "utf8")
  const rows = [...page.slice(page.indexOf("## Effect 4")).matchAll(/^\| `(\w+)` \| (.+?) \|/gm)]
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.startsWith("cli/"))

  it.each(rows.map(([, module, files]) => [module!, files!] as const))(
    "src/README.md names all files that import %s, which Effect 4 lacks",
    (module, files) => {
      const importers = sources.filter((path) => imports(join("src", path)).includes(`effect/${module}`))
      expect(files.split(", ").map((file) => file.slice(1, -1)))
        .toEqual(importers.map((path) => path.replace(/\.ts$/, "")).sort())
    }
  )
})
