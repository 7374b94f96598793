import { isSea } from "node:sea"

/** The arguments by which Node starts this command again. A single executable needs none. */
export const script: ReadonlyArray<string> = isSea() ? [] : [process.argv[1] ?? ""]
