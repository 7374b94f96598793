import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** An example of the documentation, which compiles as a module of its own. */
export interface Snippet {
  readonly file: string
  /** The line of its first line of code in the file, from 1. */
  readonly line: number
  readonly code: string
}

/** An error of the compiler, at its line in the documentation. */
export interface Complaint {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** The `ts` blocks of a Markdown file, or of the doc comments of a source file. */
export const extract = (file: string, text: string): Array<Snippet> => {
  const margin = file.endsWith(".ts") ? /^\s*\* ?/ : /^/
  const snippets: Array<Snippet> = []
  let open: { readonly line: number; readonly code: Array<string> } | undefined
  for (const [index, line] of text.split("\n").entries()) {
    const content = margin.test(line) ? line.replace(margin, "") : undefined
    if (open === undefined) {
      if (content !== undefined && /^\s*```(ts|typescript)(\s.*)?$/.test(content)) open = { line: index + 2, code: [] }
    } else if (content === undefined) {
      throw new Error(`${file}:${open.line - 1} opens a block that its comment does not close`)
    } else if (/^\s*```\s*$/.test(content)) {
      snippets.push({ file, line: open.line, code: open.code.join("\n") })
      open = undefined
    } else {
      open.code.push(content)
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line - 1} opens a block that is not closed`)
  return snippets
}

/** The files that may hold examples: the README and all sources, by their path from the root. */
export const documents = (): ReadonlyArray<{ readonly file: string; readonly text: string }> =>
  ["README.md", ...readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).map((path) => `src/${path}`)]
    .filter((file) => /\.(md|ts)$/.test(file))
    .map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }))

/** Type-checks all snippets in one program, under the settings of the tests, in files that exist nowhere. */
export const typeCheck = (snippets: ReadonlyArray<Snippet>): Array<Complaint> => {
  const config = ts.getParsedCommandLineOfConfigFile(join(root, "test/tsconfig.json"), undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(messageOf(diagnostic))
    }
  })
  const options: ts.CompilerOptions = { ...config?.options, moduleDetection: ts.ModuleDetectionKind.Force }
  const modules = new Map(snippets.map((snippet, index) => [join(root, `test/package/example${index}.ts`), snippet]))
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (path) => modules.has(path) || fileExists(path)
  host.readFile = (path) => modules.get(path)?.code ?? readFile(path)
  host.getSourceFile = (path, target, ...rest) => {
    const snippet = modules.get(path)
    return snippet === undefined
      ? getSourceFile(path, target, ...rest)
      : ts.createSourceFile(path, snippet.code, target)
  }
  const program = ts.createProgram([...modules.keys()], options, host)
  const unlocated = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()]
  if (unlocated.length > 0) throw new Error(unlocated.map(messageOf).join("\n"))
  return [...modules].flatMap(([path, snippet]) => {
    const source = program.getSourceFile(path)!
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((
      diagnostic
    ) => ({
      file: snippet.file,
      line: snippet.line + source.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line,
      message: messageOf(diagnostic)
    }))
  })
}

const messageOf = (diagnostic: ts.Diagnostic): string =>
  `TS${diagnostic.code}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")}`
