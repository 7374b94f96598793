import { describe, expect, it } from "@effect/vitest"
import type { Complaint } from "../support/examples.js"
import { documents, extract, typeCheck } from "../support/examples.js"

const wrongReadme = `# A title

\`\`\`sh
npm install nothing --that --is typescript
\`\`\`

\`\`\`ts
import * as Effect from "effect/Effect"

export const fine = Effect.succeed(1)
\`\`\`

\`\`\`ts
import * as Session from "effect-wsmux/Session"

export const session = Session.makeClient({ streamBufferSize: "large" })
export const fine: string | undefined = ["also an export of the block above"][0]
export const strict: string = [""][0]
\`\`\`
`

const wrongSource = `/**
 * A doc comment.
 *
 * @example
 * \`\`\`ts
 * import * as Frame from "../../src/internal/wire/frame.js"
 *
 * export const nothing = (
 *   Frame.noSuchFunction
 * )
 * \`\`\`
 */
export {}
`

// One program holds all examples, since the compiler spends most of its time on the types of effect.
const complaints = typeCheck([
  ...documents().flatMap(({ file, text }) => extract(file, text)),
  ...extract("wrong.md", wrongReadme),
  ...extract("wrong.ts", wrongSource)
])

const isWrong = ({ file }: Complaint) => file === "wrong.md" || file === "wrong.ts"

const report = (found: ReadonlyArray<Complaint>) => found.map(({ file, line, message }) => `${file}:${line} ${message}`)

describe("the examples", () => {
  it("examples of README.md and of doc comments compile", () => {
    expect(report(complaints.filter((complaint) => !isWrong(complaint)))).toEqual([])
  })

  it("the check of examples reports file and line when an example does not compile", () => {
    expect(report(complaints.filter(isWrong))).toEqual([
      "wrong.md:16 TS2322: Type 'string' is not assignable to type 'number'.",
      expect.stringMatching(/^wrong\.md:18 TS2322: Type 'string \| undefined' is not assignable to type 'string'/),
      expect.stringMatching(/^wrong\.ts:9 TS2339: Property 'noSuchFunction' does not exist/)
    ])
  })

  it("the check of examples finds the blocks of README.md and of each @example", () => {
    const found = documents().map(({ file, text }) => ({
      file,
      blocks: extract(file, text).length,
      tags: text.split("@example").length - 1
    }))
    expect(found.find(({ file }) => file === "README.md")?.blocks).toBeGreaterThan(0)
    expect(found.filter(({ blocks, file, tags }) => file.endsWith(".ts") && blocks !== tags)).toEqual([])
  })

  for (const [file, text] of [["open.md", "```ts\ncode"], ["open.ts", "/**\n * ```ts\n * code\n */\n"]] as const) {
    it(`the check of examples fails when a block is not closed: ${file}`, () => {
      expect(() => extract(file, text)).toThrow(/^open\.(md:1|ts:2) /)
    })
  }
})
