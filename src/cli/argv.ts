import type * as Usage from "@effect/cli/Usage"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Habits from "./habits.js"

/** A subcommand with the options that its usage declares. */
export interface Subcommand {
  readonly name: string
  readonly usage: Usage.Usage
  /** The commands of a group, such as `check` of `config`. */
  readonly subcommands?: ReadonlyArray<Subcommand>
}

/**
 * Returns the arguments in the order and form that the parser of `@effect/cli` 0.77 takes, or the first fault among the
 * options. The parser has four limits, which this module makes up for:
 * - The parser reports most faults of an option as another option that is missing.
 * - The parser takes its built-in options directly behind the name of a command only.
 * - The parser takes no `--name=value` of an option that may be repeated.
 * - The parser takes no `-Lvalue`.
 */
export const prepare = (
  subcommands: ReadonlyArray<Subcommand>,
  args: ReadonlyArray<string>
): Either.Either<ReadonlyArray<string>, string> => {
  const [name, ...behind] = args
  const subcommand = subcommands.find((subcommand) => subcommand.name === name)
  if (subcommand === undefined) {
    const habit = Habits.ofCommand(name ?? "")
    if (habit !== undefined) return Either.left(habit)
    const declared = subcommands.flatMap(({ usage }) => declarations(usage))
    return Either.map(arrange(args, new Map([...declared, ...builtIns])), () => args)
  }
  if (behind.some(isHelp)) return Either.right([...pathOf(subcommand, behind), "--help"])
  return Either.map(
    arrange(behind, new Map([...declarations(subcommand.usage), ...builtIns]), subcommand.name),
    ({ builtIn, others }) => [subcommand.name, ...builtIn, ...others]
  )
}

/** The names of the command that the arguments name: that of a group, and that of a command of the group. */
const pathOf = (subcommand: Subcommand, behind: ReadonlyArray<string>): ReadonlyArray<string> => {
  const child = subcommand.subcommands?.find(({ name }) => name === behind[0])
  return child === undefined ? [subcommand.name] : [subcommand.name, ...pathOf(child, behind.slice(1))]
}

/** An option that a command declares. */
export interface Declared {
  /** The long name, without dashes. */
  readonly name: string
  readonly kind: "flag" | "text" | "texts"
}

/** The options that a command declares, by each of their names, with dashes. */
export const declared = ({ usage }: Subcommand): ReadonlyMap<string, Declared> => new Map(optionsOf(usage))

const optionsOf = (usage: Usage.Usage, isRepeatable = false): ReadonlyArray<readonly [string, Declared]> => {
  switch (usage._tag) {
    case "Named": {
      const kind = Option.isNone(usage.acceptedValues) ? "flag" : isRepeatable ? "texts" : "text"
      const long = usage.names.find((name) => name.startsWith("--"))
      if (long === undefined) return [] // the command itself
      return usage.names.map((name) => [name, { name: long.slice(2), kind }])
    }
    case "Optional":
      return optionsOf(usage.usage, isRepeatable)
    case "Repeated":
      return optionsOf(usage.usage, true)
    case "Alternation":
    case "Concat":
      return [...optionsOf(usage.left, isRepeatable), ...optionsOf(usage.right, isRepeatable)]
    default:
      return []
  }
}

const isHelp = (arg: string): boolean => arg === "--help" || arg === "-h"

interface Declaration {
  readonly takesValue: boolean
  readonly isRepeatable: boolean
  readonly isBuiltIn?: boolean
  readonly choices?: ReadonlyArray<string>
}

const builtInFlag: Declaration = { takesValue: false, isRepeatable: false, isBuiltIn: true }
const builtInOption: Declaration = { takesValue: true, isRepeatable: false, isBuiltIn: true }

/** The options that the parser adds to each command. */
const builtIns: ReadonlyArray<readonly [name: string, declaration: Declaration]> = [
  ["--help", builtInFlag],
  ["--version", builtInFlag],
  ["--wizard", builtInFlag],
  ["--completions", { ...builtInOption, choices: ["bash", "fish", "sh", "zsh"] }],
  ["--log-level", {
    takesValue: true,
    isRepeatable: true,
    isBuiltIn: true,
    choices: ["all", "trace", "debug", "info", "warning", "error", "fatal", "none"]
  }]
]

const declarations = (usage: Usage.Usage): ReadonlyArray<readonly [string, Declaration]> =>
  optionsOf(usage).map(([name, { kind }]) => [name, { takesValue: kind !== "flag", isRepeatable: kind === "texts" }])

/** Separates the built-in options from the other arguments, or returns the first fault. */
const arrange = (args: ReadonlyArray<string>, options: ReadonlyMap<string, Declaration>, command = "") => {
  const builtIn: Array<string> = []
  const others: Array<string> = []
  const seen = new Set<string>()
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    if (arg === "--") {
      others.push(...args.slice(i))
      break
    }
    if (!arg.startsWith("-") || arg === "-") {
      others.push(arg)
      continue
    }
    const { inline, name } = split(arg)
    const option = options.get(name)
    if (option === undefined) {
      return Either.left(`Received unknown argument: '${name}'${Habits.ofOption(command, name)}`)
    }
    if (seen.has(name) && !option.isRepeatable) return Either.left(`${name}: the option is given twice`)
    seen.add(name)
    const value = option.takesValue ? inline ?? args[++i] : inline
    const fault = faultOf(name, option, value, inline)
    if (fault !== undefined) return Either.left(fault)
    const isSplit = option.isRepeatable || !arg.startsWith("--")
    const asGiven = inline === undefined && value !== undefined ? [arg, value] : [arg]
    const arranged = option.isBuiltIn ? builtIn : others
    arranged.push(...(isSplit && value !== undefined ? [name, value] : asGiven))
  }
  return Either.right({ builtIn, others })
}

const faultOf = (
  name: string,
  { choices, isRepeatable, takesValue }: Declaration,
  value: string | undefined,
  inline: string | undefined
): string | undefined => {
  if (name === "--wizard" && !process.stdin.isTTY) return "--wizard: expected a terminal for the questions"
  if (choices !== undefined && (value === undefined || !choices.includes(value))) {
    return `${name}: expected one of ${choices.join(", ")}${value === undefined ? "" : `, not ${value}`}`
  }
  // the parser would take the value for the next argument
  if (!takesValue && inline !== undefined && !/^(true|false)?$/.test(inline)) {
    return `${name}: expected no value, or =true or =false`
  }
  const isMissing = (takesValue && value === undefined) || inline === "" || (isRepeatable && value === "")
  return isMissing ? `Expected a value following option: '${name}'` : undefined
}

/**
 * Splits `--name=value`, and `-Lvalue` as ssh takes it. The value may be a secret: no fault shows the value of an
 * option that takes any text.
 */
export const split = (arg: string): { readonly name: string; readonly inline: string | undefined } => {
  if (!arg.startsWith("--")) {
    return { name: arg.slice(0, 2), inline: arg.length > 2 ? arg.slice(2).replace(/^=/, "") : undefined }
  }
  const at = arg.indexOf("=")
  return at === -1 ? { name: arg, inline: undefined } : { name: arg.slice(0, at), inline: arg.slice(at + 1) }
}
