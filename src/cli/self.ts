import type * as Sea from "node:sea"

/** Whether this command is a single executable. Bun and Deno have no module to ask. */
const isSea = (): boolean => (process.getBuiltinModule?.("node:sea") as typeof Sea | undefined)?.isSea() ?? false

/** The arguments by which Node starts this command again. A single executable needs none. */
export const script: ReadonlyArray<string> = isSea() ? [] : [process.argv[1] ?? ""]
