/** The largest port of TCP and UDP. */
const largest = 65_535

/** Where an `@` follows, the digits may be the beginning of a password. */
const ofUrl = /^[a-z][\w+.-]*:\/\/[^/?#]*:(\d+)(?:[/?#](?!.*@)|$)/is

/** The ports of a place such as `[::1]:80`, `80:db:80-90` or `53/udp`. Paths and addresses have none. */
const portsOf = (place: string): ReadonlyArray<string> =>
  place.replace(/\[[^\]]*\]/g, "").split(":").flatMap((part) =>
    /^(\d+)(?:-(\d+))?(?:\/(?:tcp|udp))?$/.exec(part)?.slice(1) ?? []
  )

/** Returns the fault of the first port above the largest in a URL or place, or undefined. No other text is shown. */
export const portFault = (text: string): string | undefined => {
  const ports = text.includes("://") ? ofUrl.exec(text)?.slice(1) ?? [] : portsOf(text)
  const wrong = ports.find((port) => Number(port) > largest)
  return wrong === undefined ? undefined : `expected a port from 0 to ${largest}, not ${wrong.slice(0, 20)}`
}
