import type * as Http from "node:http"
import { isName } from "../internal/text/agentName.js"

/** The name that a request asks for, and the target of the request at the agent. */
export interface Asked {
  readonly name: string
  readonly target: string
}

/** Whether a name can be a host below a domain. Hosts have no capitals, and a label has no dot. */
export const isHost = (name: string): boolean => /^[a-z\d](?:[a-z\d_-]{0,61}[a-z\d])?$/.test(name)

/** Whether the host of a URL is every address of a machine, which other machines cannot dial. */
export const isUnspecified = (url: string): boolean =>
  URL.canParse(url) && /^(0\.0\.0\.0|\[::(ffff:0:0)?\])$/.test(new URL(url).hostname)

/**
 * Returns the name and the target of a request: `/NAME/target`, or `/target` for the host `NAME.domain`. Returns
 * undefined where the request names none, or its target is of another form.
 */
export const parse = (
  { headers, url }: Pick<Http.IncomingMessage, "headers" | "url">,
  domain: string | undefined
): Asked | undefined => {
  if (url === undefined || !url.startsWith("/")) return undefined // the absolute form is meant for proxies
  const host = (headers.host ?? "").toLowerCase().replace(/\.?(:\d*)?$/, "") // a root's dot, and a port
  if (domain !== undefined && host.endsWith(`.${domain}`)) {
    const name = host.slice(0, -domain.length - 1)
    return isName(name) && !name.includes(".") ? { name, target: url } : undefined
  }
  const [, name = "", rest = ""] = /^\/([^/?]*)(.*)$/s.exec(url) ?? []
  return isName(name) ? { name, target: rest.startsWith("/") ? rest : `/${rest}` } : undefined
}

/** The path of a target without its query. */
export const pathOf = (url: string | undefined): string => (url ?? "/").split("?", 1)[0]!
