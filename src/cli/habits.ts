import * as Option from "effect/Option"
import { redacted } from "../Address.js"
import { portFault } from "../internal/text/portFault.js"
import * as Spec from "./forwards/spec.js"

/** What users of chisel, wstunnel, ssh and frp type by habit, and what this command takes in its place. */

const commands: Readonly<Record<string, string>> = {
  client: "wsmux connect ws://host:port -L 5432:db:5432",
  server: "wsmux serve --listen 8080 --allow db:5432",
  ssh: "wsmux connect ws://host:port -L 5432:db:5432",
  frpc: "wsmux connect ws://host:port -R 9000:localhost:80",
  frps: "wsmux serve --listen 8080 --allow-remote 9000",
  http: "wsmux connect ws://host:port -R 9000:localhost:80",
  tcp: "wsmux connect ws://host:port -R 9000:localhost:80"
}

const leftOut = "leave it out, since the command only forwards"
const level = "give --log-level debug"

/** The options of both commands. */
const ofBoth: Readonly<Record<string, string>> = {
  "-v": level,
  "--verbose": level,
  "--log-lvl": level,
  "-q": "give --log-level warning",
  "-c": "give --config file.yaml",
  "--auth": "give the token by --token-file or WSMUX_TOKEN",
  "--keepalive": "give --keep-alive",
  "--websocket-ping-frequency": "give --keep-alive"
}

const forwards = "forwards belong to wsmux connect"

const options: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  connect: {
    ...ofBoth,
    "-N": leftOut,
    "-T": leftOut,
    "-n": leftOut,
    "-C": "leave it out, since nothing is compressed",
    "-f": "leave it out, and let a service manager or the shell keep the command in the background",
    "-g": "name the bind, such as -L *:8080:db:80, and give --allow-anonymous",
    "-o": "give the option of wsmux in its place: wsmux connect --help",
    "-p": "the port belongs to the URL, such as wss://host:443",
    "--port": "the port belongs to the URL, such as wss://host:443",
    "-i": "give the token by --token-file, or a certificate by --tls-cert and --tls-key",
    "-l": "the token tells the user: give --token-file",
    "-J": "give a proxy by --proxy",
    "-w": "give -L, -R or -D, since network devices are not forwarded",
    "-H": "give --header",
    "--http-headers": "give --header",
    "--http-proxy": "give --proxy",
    "--http-upgrade-path-prefix": "the path belongs to the URL, such as wss://host/path",
    "--hostname": "give --header host:NAME, and --sni for TLS",
    "--tls-sni-override": "give --sni",
    "--tls-verify-certificate": "leave it out, since certificates are always checked",
    "--tls-skip-verify": "give the authority to trust by --tls-ca",
    "--fingerprint": "give the authority to trust by --tls-ca",
    "--local-to-remote": "give -L",
    "--remote-to-local": "give -R",
    "--max-retry-count": "give --reconnect",
    "--max-retry-interval": "give --reconnect and --max-reconnect-interval"
  },
  serve: {
    ...ofBoth,
    "-p": "give --listen host:port",
    "--port": "give --listen host:port",
    "--host": "give --listen host:port",
    "--reverse": "give --allow-remote with the ports that clients may listen at",
    "--socks5": "give --allow with what clients may reach by -D, such as *:*",
    "--authfile": "give --rules file.yaml",
    "--backend": "give --allow or --target",
    "--restrict-to": "give --allow host:port",
    "--restrict-http-upgrade-path-prefix": "give --token-file",
    "-L": forwards,
    "-R": `${forwards}: give --allow-remote here`,
    "-D": forwards
  }
}

/** Returns what to type in place of the name of another program's command. */
export const ofCommand = (name: string): string | undefined =>
  Object.hasOwn(commands, name) ? `Invalid subcommand '${name}': write ${commands[name]}` : undefined

/** Returns the end of a message: what to give in place of an option that a command does not have. */
export const ofOption = (command: string, name: string): string => {
  const known = Object.hasOwn(options, command) ? options[command]! : {}
  return Object.hasOwn(known, name) ? `: ${known[name]}` : ""
}

/** Returns the end of a message: the address in place of one without `ws://`. */
export const ofUrl = (text: string): string => {
  const [, given = "", rest = ""] = /^(https?:\/\/)?((?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?(?:\/.*)?)$/i.exec(text) ?? []
  const scheme = given.toLowerCase()
  const isPlace = scheme !== "" || /^[^/]+:\d+/.test(rest) || /^localhost(\/|$)/.test(rest)
  if (!isPlace || portFault(text) !== undefined) return ""
  const shown = redacted(`ws://${rest}`).slice("ws://".length)
  if (scheme === "") return `; write ws://${shown}, or wss://${shown} for TLS`
  return `; write ${scheme.replace("http", "ws")}${shown}`
}

/** Returns the end of a message: the option in place of a forward as wstunnel writes them, such as `tcp://80:db:80`. */
export const ofForward = (name: string, text: string): string => {
  const [, given = "", place = ""] = /^(tcp|udp|socks5|http|unix|stdio):\/\/([^?@]+)(?:\?.*)?$/i.exec(text) ?? []
  const scheme = given.toLowerCase()
  if (place === "" || !/^(-[LRDW]|<remote>)$/.test(name)) return ""
  const [option, value] = scheme === "stdio" || name === "-W"
    ? ["-W", place]
    : name === "-R"
    ? ["-R", scheme === "udp" ? `udp:${place}` : place]
    : scheme === "socks5" || scheme === "http"
    ? ["-D", place]
    : ["-L", scheme === "udp" ? `udp:${place}` : place]
  return isTaken(option, value) ? `; write ${option} ${value}` : ""
}

const isTaken = (option: string, value: string): boolean => {
  switch (option) {
    case "-W":
      return Option.isSome(Spec.parseTarget(value))
    case "-D":
      return Option.isSome(Spec.parseProxy("local", value))
    default:
      return Option.isSome(Spec.parse(option === "-R" ? "remote" : "local", value))
  }
}
