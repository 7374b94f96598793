import { parseArgs } from "node:util"

/** The text of a flag for `--help`, and the name of its value where it has one. */
export type Flags = Readonly<Record<string, readonly [text: string, value?: string]>>

/** The text of a size, the standard, and the standard with --quick. */
export type SizeTable = Readonly<Record<string, readonly [text: string, full: number, quick: number]>>

export const usageOf = (command: string, flags: Flags, sizes: SizeTable): string => {
  const line = (name: string, text: string) => `  ${name.padEnd(22)} ${text}`
  return [
    `${command} -- [options]`,
    ...Object.entries(flags).map(([flag, [text, value]]) => line(`--${flag}${value ? ` ${value}` : ""}`, text)),
    ...Object.entries(sizes).map(([flag, [text, full, quick]]) =>
      line(`--${flag} N`, `${text} (${full}${full === quick ? "" : `, quick ${quick}`})`)
    )
  ].join("\n")
}

/** The command line of a benchmark. Its flags have `quick` and `help`, and each size is an option with a number. */
export const parseCommandLine = <S extends SizeTable>(flags: Flags, sizes: S) => {
  const valued = (name: string) => flags[name] === undefined || flags[name].length === 2
  const { values } = parseArgs({
    options: Object.fromEntries(
      [...Object.keys(flags), ...Object.keys(sizes)].map((
        name
      ) => [name, { type: valued(name) ? "string" : "boolean" } as const])
    )
  })
  const quick = values.quick === true
  const number = (name: string, standard: number): number => {
    const value = values[name] === undefined ? standard : Number(values[name])
    if (!Number.isInteger(value) || value < 1) {
      throw new Error(`--${name}: ${values[name]} is not a whole number from 1 on`)
    }
    return value
  }
  const text = (name: string) => {
    const value = values[name]
    return typeof value === "string" ? value : undefined
  }
  return {
    help: values.help === true,
    quick,
    /** Whether the command line has no other options than these. */
    onlyNames: (...names: ReadonlyArray<string>) => Object.keys(values).every((name) => names.includes(name)),
    number,
    text,
    /** Names with commas, each of which is known. */
    list: (name: string, known: ReadonlyArray<string>): ReadonlyArray<string> => {
      const chosen = text(name)?.split(",") ?? known
      const unknown = chosen.find((item) => !known.includes(item))
      if (unknown !== undefined) throw new Error(`--${name}: ${unknown} is none of ${known.join(", ")}`)
      return chosen
    },
    sizes: Object.fromEntries(
      Object.entries(sizes).map(([name, [, full, small]]) => [name, number(name, quick ? small : full)])
    ) as { readonly [K in keyof S]: number }
  }
}
