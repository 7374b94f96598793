import { redacted } from "../Address.js"

/** Options whose value may be a secret, also those that users of chisel and wstunnel type by habit. */
const secretOptions = [
  ...["--token", "--header", "--proxy", "--directory"],
  ...["--auth", "-H", "--http-headers", "--http-proxy"]
]

/** Returns the command line for the list of processes: without tokens, headers, and the secrets of an address. */
export const withoutSecrets = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.map((arg, i) => {
    if (secretOptions.includes(args[i - 1] ?? "")) return "***"
    const option = secretOptions.find((option) => arg.startsWith(`${option}=`))
    return option === undefined ? redacted(arg) : `${option}=***`
  })
