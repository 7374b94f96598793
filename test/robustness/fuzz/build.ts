import { build, type Plugin } from "esbuild"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Instruments the sources: `__hits` counts how often a program takes each branch. */
const instrument = (next: () => number): ts.TransformerFactory<ts.SourceFile> => (context) => {
  const { factory } = context
  const hit = () =>
    factory.createPostfixIncrement(factory.createElementAccessExpression(factory.createIdentifier("__hits"), next()))
  const counted = (expression: ts.Expression) =>
    factory.createParenthesizedExpression(factory.createComma(hit(), expression))
  const before = (statements: ReadonlyArray<ts.Statement>) => [factory.createExpressionStatement(hit()), ...statements]
  const block = (statement: ts.Statement) =>
    ts.isBlock(statement) ? statement : factory.createBlock(before([statement]))
  const visit = (node: ts.Node): ts.Node => {
    const seen = ts.visitEachChild(node, visit, context)
    if (ts.isBlock(seen)) return factory.updateBlock(seen, before(seen.statements))
    if (ts.isCaseClause(seen)) return factory.updateCaseClause(seen, seen.expression, before(seen.statements))
    if (ts.isDefaultClause(seen)) return factory.updateDefaultClause(seen, before(seen.statements))
    if (ts.isIfStatement(seen)) {
      const { elseStatement, expression, thenStatement } = seen
      return factory.updateIfStatement(seen, expression, block(thenStatement), elseStatement && block(elseStatement))
    }
    if (ts.isConditionalExpression(seen)) {
      const { colonToken, condition, questionToken, whenFalse, whenTrue } = seen
      return factory.updateConditionalExpression(
        seen,
        condition,
        questionToken,
        counted(whenTrue),
        colonToken,
        counted(whenFalse)
      )
    }
    if (ts.isBinaryExpression(seen) && choices.has(seen.operatorToken.kind)) {
      return factory.updateBinaryExpression(seen, seen.left, seen.operatorToken, counted(seen.right))
    }
    return seen
  }
  return (file) => ts.visitNode(file, visit) as ts.SourceFile
}

const choices = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken
])

const instrumented: Plugin = {
  name: "instrumented",
  setup({ onLoad }) {
    let branches = 0
    onLoad(
      { filter: /\/src\/internal\/(wire|recv|send|session|time|memory|sync)\/[a-zA-Z]+\.ts$/ },
      async ({ path }) => {
        const { outputText } = ts.transpileModule(await readFile(path, "utf8"), {
          fileName: path,
          compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
          transformers: { before: [instrument(() => branches++)] }
        })
        return { contents: outputText, loader: "ts" }
      }
    )
  }
}

/** Bundles the fuzzer and the instrumented sources into one file. */
export const buildFuzzer = async (): Promise<string> => {
  const outfile = here("./build/fuzz.js")
  await build({
    entryPoints: [here("./fuzz.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    logLevel: "silent",
    alias: { "effect-wsmux": here("../../../src") },
    banner: { js: "globalThis.__hits = new Uint32Array(4096)" },
    plugins: [instrumented]
  })
  return outfile
}
