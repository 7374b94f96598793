/** The most UTF-16 units that are kept: more than a close reason can have, and little enough for a line of a log. */
const maxLength = 512

/** Tabs and line breaks, those of Unicode too. */
const breaks = /[\t-\r\u0085\u2028\u2029]+/gu

/** Characters that change how others are shown, or show nothing: bidirectional overrides, zero width, variation. */
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu

/** Other control characters (C0, DEL, C1), and halves of surrogate pairs. */
const control = /[\p{Cc}\p{Cs}]/gu

/**
 * Makes text of a peer safe for a log line and a terminal: one line of at most 512 units, without characters that
 * control the terminal, reorder text or show nothing. Applied again, it changes nothing.
 */
export const plainText = (text: string): string => {
  // Cut first, so that the work is bounded, too; a pair that is cut in two shows as a replacement character otherwise.
  const cut = text.length > maxLength ? `${text.slice(0, maxLength - 1).replace(/[\ud800-\udbff]$/, "")}…` : text
  return cut.replace(breaks, " ").replace(invisible, "").replace(control, "\ufffd")
}
