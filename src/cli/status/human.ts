/** Numbers as people read them. The status page embeds both functions as text, so they use nothing around them. */

/** Formats a number of bytes, such as `0 B`, `1.5 KiB` or `20 MiB`. */
export const bytes = (count: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  let value = count
  let unit = 0
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** Formats a time span by its two largest units, such as `5 s`, `2 m 3 s` or `3 d 4 h`. */
export const span = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  const units: Array<[number, string]> = [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]]
  const first = units.findIndex(([size]) => seconds >= size)
  if (first === -1) return "0 s"
  return units.slice(first, first + 2).map(([size, name], i) =>
    `${Math.floor((i === 0 ? seconds : seconds % units[first]![0]) / size)} ${name}`
  ).filter((part, i) => i === 0 || !part.startsWith("0 ")).join(" ")
}
