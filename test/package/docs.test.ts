import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import ts from "typescript"
import { downloads } from "../runtimes/runtimes.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const source = (file: string): string => readFileSync(join(root, "src", file), "utf8")
const publicModules = readdirSync(join(root, "src")).filter((file) => file.endsWith(".ts")).sort()

interface Documentation {
  /** The tags that an exported member, or the module itself, lacks. */
  readonly faults: ReadonlyArray<string>
  /** The names of the exports at run time. */
  readonly values: ReadonlyArray<string>
}

/**
 * Reads the declarations and doc comments of a module. The doc comments of a re-export are in the module that it names.
 */
const inspect = (file: string, text: string): Documentation => {
  const parsed = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const faults: Array<string> = []
  const values: Array<string> = []
  const at = (node: ts.Node) => `${file}:${parsed.getLineAndCharacterOfPosition(node.getStart()).line + 1}`

  const header = /^\/\*\*\n \* \S[^]*?\*\//.exec(text)?.[0] ?? ""
  if (!/^ \* @since \d+\.\d+\.\d+$/m.test(header)) faults.push(`${file}:1 the module has no description with @since`)

  for (const statement of parsed.statements) {
    if (ts.isExportDeclaration(statement) || ts.isExportAssignment(statement)) {
      const { exportClause, moduleSpecifier } = statement as Partial<ts.ExportDeclaration>
      const target = moduleSpecifier !== undefined && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : ""
      const module = target.replace(/^\.\/(.*)\.js$/, "$1.ts")
      if (target !== "" && exportClause === undefined && publicModules.includes(module)) {
        values.push(...inspect(module, source(module)).values)
      } else if (exportClause === undefined || !ts.isNamespaceExport(exportClause)) {
        faults.push(`${at(statement)} only declarations, and modules as a whole, are exported`)
      } else {
        values.push(exportClause.name.text)
        if (!publicModules.includes(module)) {
          faults.push(`${at(statement)} ${target} is no public module`)
        }
      }
    } else if (
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    ) {
      const names = ts.isVariableStatement(statement)
        ? statement.declarationList.declarations.map(({ name }) => name.getText())
        : [(statement as ts.DeclarationStatement).name?.text ?? "default"]
      if (!ts.isInterfaceDeclaration(statement) && !ts.isTypeAliasDeclaration(statement)) values.push(...names)
      const tags = ts.getJSDocTags(statement)
      for (const [tag, pattern] of [["since", /^\d+\.\d+\.\d+$/], ["category", /^[a-z][a-z -]*$/]] as const) {
        const given = tags.filter(({ tagName }) => tagName.text === tag)
        if (given.length !== 1 || !pattern.test(ts.getTextOfJSDocComment(given[0]?.comment) ?? "")) {
          faults.push(`${at(statement)} ${names.join(", ")} needs one @${tag}`)
        }
      }
    }
  }
  return { faults, values }
}

/** Returns the versions of a program in the README's table "Runs on", or none. */
const runsOn = (program: string): ReadonlyArray<string> => {
  const table = /^## Runs on\n[^]*?(?=^## )/m.exec(readFileSync(join(root, "README.md"), "utf8"))?.[0] ?? ""
  const [, versions] = new RegExp(`^\\| [^|]*\\b${program} ([\\d., -]+)`, "mi").exec(table) ?? []
  return versions?.match(/\d+[.-]\d+/g) ?? []
}

/** Returns major and minor, and for the dated versions of workerd (1.20260426.1) year and month. */
const minorOf = (version: string): string =>
  version.replace(/^1\.(20\d\d)(\d\d)\d\d\..*/, "$1-$2").replace(/^(\d+\.\d+)\..*/, "$1")

describe("the documentation", () => {
  it("README names the versions of the runtimes that the tests download, beside Node 20", () => {
    const programOf = (name: string) => name.replace(/\d+$/, "")
    const pinned = Object.entries(downloads).map(([name, { version }]) => `${programOf(name)} ${minorOf(version)}`)
    const named = [...new Set(Object.keys(downloads).map(programOf))]
      .flatMap((program) => runsOn(program).map((version) => `${program} ${version}`))
    expect(named.filter((version) => !version.startsWith("node 20.")).sort()).toEqual(pinned.sort())
  })

  it("public modules have a description, and each export has one @since and one @category", () => {
    expect(publicModules.flatMap((file) => inspect(file, source(file)).faults)).toEqual([])
  })

  it("the check of doc comments reports each missing tag with its line", () => {
    const bare = `import * as Effect from "effect/Effect"

/** @since 1.0.0 */
export const uncategorised = 1

/**
 * @since 1.0.0
 * @category models
 */
export interface Documented {}
export type Bare = 1
const hidden = 1
export { hidden }
export * as Inside from "./internal/outbox.js"
`
    expect(inspect("bare.ts", bare).faults).toEqual([
      "bare.ts:1 the module has no description with @since",
      "bare.ts:4 uncategorised needs one @category",
      "bare.ts:11 Bare needs one @since",
      "bare.ts:11 Bare needs one @category",
      "bare.ts:13 only declarations, and modules as a whole, are exported",
      "bare.ts:14 ./internal/outbox.js is no public module"
    ])
  })
})

describe("the public modules", () => {
  it("exports of package.json name files that the build has written", () => {
    expect(existsSync(join(root, "dist")), "dist is missing: run `npm run build` first").toBe(true)
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>> | null>>
    }
    const targets = Object.values(exports)
      .flatMap((target) => typeof target === "string" ? [target] : Object.values(target ?? {}))
      .flatMap((target) => publicModules.map((file) => target.replace("*", file.replace(/\.ts$/, ""))))
    expect(targets).toEqual(expect.arrayContaining(["./dist/index.js", "./dist/Session.js", "./dist/Session.d.ts"]))
    expect([...new Set(targets)].filter((target) => !existsSync(join(root, target)))).toEqual([])
  })

  for (const file of publicModules) {
    it(`public module exports the names that it declares: ${file}`, async () => {
      const module: object = await import(pathToFileURL(join(root, "src", file)).href)
      expect(Object.keys(module).sort()).toEqual([...inspect(file, source(file)).values].sort())
    })
  }
})
