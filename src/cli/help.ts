import { stripVTControlCharacters } from "node:util"

/** The columns of a page of help, and those of the names in it. */
const width = 110
const nameWidth = 30

/** The paragraphs of `@effect/cli` that repeat what the name of an option tells. */
const obvious =
  /^(A user-defined piece of text|A true or false value|One of the following|This (setting|option|argument) )/

/**
 * Sets a page of help of `@effect/cli` in one or two lines for each option, so that the page fits a screen. The
 * original takes six lines for each. Other texts stay as they are.
 *
 * @param before the commands before that of the page, such as `config` of `config check`, which the parser leaves out
 */
export const compact = (page: string, before: ReadonlyArray<string> = []): string => {
  const blocks = stripVTControlCharacters(page).split(/\n\s*\n/).filter((block) => block.trim() !== "")
  const usage = blocks.find((block) => block.startsWith("$ "))
  if (usage === undefined) return page
  const lines: Array<string> = [synopsis(usage, before, blocks.some((block) => block.trim() === "COMMANDS"))]
  let section = ""
  let name: string | undefined
  let [group, groupAt] = ["", 0]
  const flush = (text = "") => {
    if (name !== undefined) lines.push(...item(name, text))
    name = undefined
  }
  for (const block of blocks.slice(blocks.indexOf(usage) + 1)) {
    const text = block.replace(/\s+/g, " ").trim()
    const command = /^- (\w+(?: \w+)*) .* {2,}(\S.*)$/s.exec(block.trim())
    if (/^[A-Z]+$/.test(text)) {
      flush()
      section = text
      lines.push("")
    } else if (command !== null) {
      if (command[1]!.startsWith(`${group} `)) lines.splice(groupAt) // the commands of a group tell enough
      group = command[1]!
      groupAt = lines.length
      lines.push(...item(command[1]!, command[2]!))
    } else if (section === "DESCRIPTION") {
      lines.push(...wrap(text, 0))
    } else if (!/^\s/.test(block)) {
      flush()
      name = text.replace(/^\((.*)\)(\.\.\.)?$/, "$1$2")
    } else if (!obvious.test(text)) {
      flush(text)
    }
  }
  flush()
  return `${lines.join("\n")}\n`
}

/** The line of the usage, without the options, which the page lists. */
const synopsis = (usage: string, before: ReadonlyArray<string>, isGroup: boolean): string => {
  const [, name = "", rest = ""] = /^\$ (?:wsmux )?(\w*)(.*)$/s.exec(usage.replace(/\s+/g, " ").trim()) ?? []
  const names = ["wsmux", ...before, ...(name === "" || name === "wsmux" ? [] : [name])]
  const args = rest.match(/<[^>]+>(\.\.\.)?/g) ?? []
  return ["$", ...names, ...(isGroup ? ["<command>"] : ["[options]", ...args])].join(" ")
}

const item = (name: string, text: string): ReadonlyArray<string> => {
  const [first = "", ...others] = wrap(text, nameWidth)
  const start = `  ${name}`
  return start.length + 2 > nameWidth
    ? [start, ...[first, ...others].filter((line) => line.trim() !== "")]
    : [start.padEnd(nameWidth) + first.trimStart(), ...others]
}

/** Breaks a text at spaces. Each line has this indentation. */
const wrap = (text: string, indentation: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && indentation + line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  return [...lines, line].map((line) => " ".repeat(indentation) + line)
}
