/** The largest length of the result in UTF-16 units: longer than any close reason, and short enough for a log line. */
const maxLength = 512

/** Tabs and line breaks, including the line breaks of Unicode. */
const breaks = /[\t-\r\u0085\u2028\u2029]+/gu

/** Characters that are invisible or change other characters: bidirectional overrides, zero width, variation. */
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu

/** Other control characters (C0, DEL, C1), and halves of surrogate pairs. */
const control = /[\p{Cc}\p{Cs}]/gu

/**
 * Makes text of a peer safe for a log line and a terminal. Returns one line of at most 512 UTF-16 units, without
 * characters that control the terminal, reorder text or are invisible. Idempotent.
 */
export const plainText = (text: string): string => {
  // The cut comes first to bound the work. A cut through a surrogate pair also drops the first half.
  const cut = text.length > maxLength ? `${text.slice(0, maxLength - 1).replace(/[\ud800-\udbff]$/, "")}…` : text
  return cut.replace(breaks, " ").replace(invisible, "").replace(control, "\ufffd")
}
