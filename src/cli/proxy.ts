import { HttpsProxyAgent } from "https-proxy-agent"
import type * as Http from "node:http"
import { getProxyForUrl } from "proxy-from-env"
import { SocksProxyAgent } from "socks-proxy-agent"
import { ConnectFailure } from "../WsmuxError.js"

/** The schemes of proxies: a proxy for HTTP carries the connection by CONNECT. */
const schemes = ["http:", "https:", "socks:", "socks4:", "socks4a:", "socks5:", "socks5h:"]

/** Parses the address of a proxy. A text without a scheme names a proxy for HTTP, as it does for curl. */
export const parse = (text: string): URL | undefined => {
  const given = /^[a-z0-9+.-]+:\/\//i.test(text) ? text : `http://${text}`
  const url = URL.canParse(given) ? new URL(given) : undefined
  return url !== undefined && url.hostname !== "" && schemes.includes(url.protocol) ? url : undefined
}

/**
 * The address of the proxy that the environment names for a WebSocket, as text: `HTTPS_PROXY` for `wss://`,
 * `HTTP_PROXY` for `ws://`, else `ALL_PROXY`, unless `NO_PROXY` names the host. Empty without one.
 */
export const ofEnvironment = (url: string): string => {
  // `proxy-from-env` would ask for `WSS_PROXY`, which none sets
  const isWanted = URL.canParse(url) && getProxyForUrl(url.replace(/^ws/i, "http")) !== ""
  // the text as it is: `proxy-from-env` would make `host:port` of HTTPS_PROXY a proxy that speaks TLS
  return isWanted ? process.env[variableOf(url) ?? ""] ?? "" : ""
}

/** The variable that names a proxy for a WebSocket, whether or not `NO_PROXY` names the host. Undefined without one. */
export const variableOf = (url: string): string | undefined => {
  const scheme = /^wss:/i.test(url) ? "https" : "http"
  const names = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, "all_proxy", "ALL_PROXY"]
  return names.find((name) => process.env[name]) // in the order of `proxy-from-env`
}

/** Makes an agent whose connections go through the proxy. The names of servers are resolved by the proxy. */
export const agent = (proxy: URL): Http.Agent => {
  if (proxy.protocol === "http:" || proxy.protocol === "https:") return new HttpsProxyAgent(proxy)
  const far = new URL(proxy)
  // behind a firewall only the proxy may know the name
  return new SocksProxyAgent(far.href.replace(/^socks5?:/, "socks5h:").replace(/^socks4:/, "socks4a:"))
}

/** A proxy has answered CONNECT by a status of its own, and the server was not reached. */
export class Refusal extends Error {
  /** What to do, where the status tells. */
  readonly advice: string | undefined

  /** @param hasUser whether the proxy was told a user */
  constructor(readonly status: number, hasUser: boolean) {
    const advice = adviceFor(status, hasUser)
    super(`the proxy answered ${status}${advice === undefined ? "" : `: ${advice}`}`)
    this.advice = advice
  }
}

/** Tinyproxy answers 401 where others answer 407. */
const adviceFor = (status: number, hasUser: boolean): string | undefined => {
  if (status === 401 || status === 407) {
    return hasUser
      ? "the user or password in the address of the proxy is wrong"
      : "the proxy asks for user:password@ in its address"
  }
  if (status === 403) return "the rules of the proxy forbid this server or its port"
  return status >= 500 ? "the proxy does not reach the server" : undefined
}

/** The message of a failed dial, which tells where the proxy, and not the server, has answered. */
export const messageOf = (failure: { readonly message: string }): string =>
  failure instanceof ConnectFailure && failure.cause instanceof Refusal
    ? `cannot connect to ${failure.url}: ${failure.cause.message}`
    : failure.message

/** Returns the refusal by which the proxy answered the last CONNECT of an agent, if it did. */
export const refusals = (agent: Http.Agent, proxy: URL): () => Refusal | undefined => {
  let status: number | undefined
  if (agent instanceof HttpsProxyAgent) {
    agent.on("proxyConnect", (answer: { readonly statusCode: number }) => {
      status = answer.statusCode
    })
  }
  return () => status === undefined || status === 200 ? undefined : new Refusal(status, proxy.username !== "")
}
