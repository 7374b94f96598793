import { plainText } from "./plainText.js"

/**
 * The message of a cause, safe for a log line, because platforms repeat text of the peer (such as names in a
 * certificate).
 *
 * Node puts the reasons of a failed connection to several addresses into an AggregateError without a message.
 */
export const describe = (cause: unknown): string => {
  if (!(cause instanceof Error)) return ""
  return plainText(
    cause instanceof AggregateError && cause.message === ""
      ? cause.errors.map((inner) => inner instanceof Error ? inner.message : String(inner)).join(", ")
      : cause.message
  )
}

/** A text, followed by the detail of the peer or the platform unless that is empty. */
export const detailed = (text: string, detail: string): string => detail === "" ? text : `${text}: ${plainText(detail)}`
