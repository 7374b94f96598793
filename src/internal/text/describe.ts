import { plainText } from "./plainText.js"

/**
 * The message of a cause, safe for a log line, because platforms repeat text of the peer (such as names in a
 * certificate). Empty where the cause tells nothing.
 *
 * Node puts the reasons of a failed connection to several addresses into an AggregateError without a message.
 */
export const describe = (cause: unknown): string => {
  if (!(cause instanceof Error)) return plainText(describeValue(cause))
  return plainText(
    cause instanceof AggregateError && cause.message === ""
      ? cause.errors.map((inner) => inner instanceof Error ? inner.message : String(inner)).join(", ")
      : cause.message
  )
}

/** Effects may fail with any value. A `ConfigError` is an object with a `toString` of its own. */
const describeValue = (cause: unknown): string => {
  if (typeof cause === "string") return cause
  if (typeof cause !== "object" || cause === null) return ""
  if ("_tag" in cause && typeof cause._tag === "string" && !hasText(cause)) return cause._tag
  try {
    return hasText(cause) ? String(cause).replace(/^\((.*)\)$/s, "$1") : ""
  } catch {
    return ""
  }
}

const hasText = ({ toString }: object): boolean =>
  typeof toString === "function" && toString !== Object.prototype.toString

/** A text, followed by the detail of the peer or the platform unless that is empty. */
export const detailed = (text: string, detail: string): string => detail === "" ? text : `${text}: ${plainText(detail)}`
