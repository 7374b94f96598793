import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { findProgram } from "../support/programs.js"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export const certificate = here("../fixtures/tls/cert.pem")
const key = here("../fixtures/tls/key.pem")

/** A proxy with its ports, in a folder of its own. */
export interface Proxy {
  readonly port: number
  /** The port with TLS, and with HTTP/2 where the proxy speaks that; 0 where it has none. */
  readonly tlsPort: number
  readonly child: ChildProcess
  readonly stop: () => Promise<void>
}

/** What a configuration needs to know. */
interface Setting {
  readonly folder: string
  readonly port: number
  readonly tlsPort: number
  /** The lines of the page for users. */
  readonly lines: string
  /** The time-out of idle connections in seconds, in the place of the default. Undefined for the default. */
  readonly idle: number | undefined
}

interface Kind {
  readonly program: string
  readonly packageName: string
  readonly args: (folder: string) => ReadonlyArray<string>
  readonly config: (setting: Setting) => string
  /** The default time-out of idle connections; undefined: none. */
  readonly defaultIdle: string | undefined
  readonly speaksHttp2: boolean
  /** Whether the proxy takes WebSockets over HTTP/2 (RFC 8441). */
  readonly takesExtendedConnect: boolean
}

export const kinds: Readonly<Record<string, Kind>> = {
  nginx: {
    program: "nginx",
    packageName: "nginx-light",
    args: (folder) => ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "config")],
    defaultIdle: "60 s",
    speaksHttp2: true,
    takesExtendedConnect: false,
    config: ({ folder, idle, lines, port, tlsPort }) => `
      daemon off;
      master_process off; # a worker would outlive its killed master
      pid ${folder}/pid;
      events {}
      http {
        access_log off;
        client_body_temp_path ${folder}/body;
        proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fastcgi;
        uwsgi_temp_path ${folder}/uwsgi;
        scgi_temp_path ${folder}/scgi;
        ${idle === undefined ? "" : `proxy_read_timeout ${idle}s; proxy_send_timeout ${idle}s;`}
        ssl_certificate ${certificate};
        ssl_certificate_key ${key};
        server { listen 127.0.0.1:${port}; listen 127.0.0.1:${tlsPort} ssl http2; ${lines} }
      }`
  },
  haproxy: {
    program: "haproxy",
    packageName: "haproxy",
    args: (folder) => ["-f", join(folder, "config")],
    defaultIdle: "50 s in Debian's configuration",
    speaksHttp2: true,
    takesExtendedConnect: true,
    config: ({ idle = 50, folder, lines, port, tlsPort }) => {
      writeFileSync(join(folder, "both.pem"), readFileSync(certificate, "utf8") + readFileSync(key, "utf8"))
      return [
        "defaults",
        "  mode http",
        "  timeout connect 5s",
        `  timeout client ${idle}s`,
        `  timeout server ${idle}s`,
        "frontend web",
        `  bind 127.0.0.1:${port}`,
        `  bind 127.0.0.1:${tlsPort} ssl crt ${folder}/both.pem alpn h2,http/1.1`,
        "  default_backend wsmux",
        lines,
        ""
      ].join("\n")
    }
  },
  apache: {
    program: "apache2",
    packageName: "apache2",
    args: (folder) => ["-X", "-d", folder, "-f", join(folder, "config")],
    defaultIdle: "300 s in Debian's configuration",
    speaksHttp2: true,
    takesExtendedConnect: true,
    config: ({ folder, idle = 300, lines, port, tlsPort }) =>
      [
        ...["mpm_event", "authz_core", "proxy", "proxy_http", "ssl", "http2"].map((name) =>
          `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`
        ),
        "ServerName localhost",
        `PidFile ${folder}/pid`,
        `ErrorLog ${folder}/error.log`,
        `DefaultRuntimeDir ${folder}`,
        `Timeout ${idle}`,
        `Listen 127.0.0.1:${port}`,
        `Listen 127.0.0.1:${tlsPort}`,
        "Protocols h2 http/1.1",
        "H2WebSockets on",
        lines,
        `<VirtualHost 127.0.0.1:${port}>`,
        lines,
        "</VirtualHost>",
        `<VirtualHost 127.0.0.1:${tlsPort}>`,
        "SSLEngine on",
        `SSLCertificateFile ${certificate}`,
        `SSLCertificateKeyFile ${key}`,
        lines,
        "</VirtualHost>"
      ].join("\n")
  },
  caddy: {
    program: "caddy",
    packageName: "caddy",
    args: (folder) => ["run", "--adapter", "caddyfile", "--config", join(folder, "config")],
    defaultIdle: undefined,
    speaksHttp2: true,
    takesExtendedConnect: false,
    config: ({ lines, port, tlsPort }) =>
      [
        "{",
        "  admin off",
        "  auto_https off",
        "}",
        `http://:${port} {`,
        "  bind 127.0.0.1",
        lines,
        "}",
        `https://:${tlsPort} {`,
        "  bind 127.0.0.1",
        `  tls ${certificate} ${key}`,
        lines,
        "}"
      ].join("\n")
  },
  squid: {
    program: "squid",
    packageName: "squid",
    // The name keeps the shared memory of several processes apart.
    args: (folder) => ["-N", "-n", serviceOf(folder), "-f", join(folder, "config")],
    defaultIdle: "15 min",
    speaksHttp2: false,
    takesExtendedConnect: false,
    config: ({ folder, idle, lines }) =>
      [
        `pid_filename ${folder}/pid`,
        `cache_log ${folder}/cache.log`,
        "access_log none",
        "cache deny all",
        "shutdown_lifetime 0 seconds",
        ...(idle === undefined ? [] : [`read_timeout ${idle} seconds`]),
        lines,
        ""
      ].join("\n")
  }
}

/** The program and the name of the package of the proxy by CONNECT that stands before no server. */
export const tinyproxy = { program: findProgram("tinyproxy"), packageName: "tinyproxy" }

/** Squid's name for its shared memory, which a killed Squid leaves behind. */
const serviceOf = (folder: string): string => basename(folder).replaceAll(/\W/g, "")

const removeSharedMemory = (folder: string): void => {
  if (!existsSync("/dev/shm")) return
  const left = readdirSync("/dev/shm").filter((file) => file.startsWith(`${serviceOf(folder)}-cf__`))
  for (const file of left) rmSync(join("/dev/shm", file), { force: true })
}

export const programOf = (name: string): string | undefined =>
  findProgram(kinds[name]!.program, ["/usr/sbin", "/usr/local/sbin"])

/** The block of the page for users in the language of a proxy. */
const linesOf = (name: string): string => {
  const page = readFileSync(here("../../src/cli/PROXIES.md"), "utf8")
  return new RegExp(`\`\`\`${name}\n([^]*?)\`\`\``).exec(page)![1]!
}

const freePorts = async (count: number): Promise<ReadonlyArray<number>> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"))
  await Promise.all(servers.map((server) => once(server, "listening")))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), "close")))
  return ports
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true))
    socket.once("error", () => resolve(false)).once("connect", () => socket.destroy())
  })

/**
 * Starts a proxy before a server. Completes when the proxy listens.
 *
 * @param change makes other lines of those for users
 */
export const startProxy = (
  name: string,
  server: number,
  idle?: number,
  change: (lines: string) => string = (lines) => lines
): Promise<Proxy> =>
  launch(name, ({ folder, port, tlsPort }) => {
    const lines = change(linesOf(name))
      .replace("127.0.0.1:8080", `127.0.0.1:${server}`)
      .replace("parent 8080", `parent ${server}`)
      .replace("http_port 80", `http_port 127.0.0.1:${port}`)
    return kinds[name]!.config({ folder, idle, lines, port, tlsPort })
  })

/** Starts a Squid that carries the connections of one user by CONNECT. Completes when the Squid listens. */
export const startForwardSquid = (user: string, password: string): Promise<Proxy> =>
  launch("squid", ({ folder, port, tlsPort }) => {
    const digest = createHash("md5").update(password).digest("hex")
    writeFileSync(join(folder, "users"), `${user}:${digest}\n`, { mode: 0o644 })
    const lines = [
      `http_port 127.0.0.1:${port}`,
      `auth_param basic program /usr/lib/squid/basic_ncsa_auth ${folder}/users`,
      "acl known proxy_auth REQUIRED",
      "http_access allow CONNECT known",
      "http_access deny all"
    ]
    return kinds.squid!.config({ folder, idle: undefined, lines: lines.join("\n"), port, tlsPort })
  })

/** Starts a Tinyproxy for connections by CONNECT, of one user where one is given. */
export const startTinyproxy = (user?: string, password?: string): Promise<Proxy> =>
  start("tinyproxy", {
    program: tinyproxy.program!,
    args: (folder) => ["-d", "-c", join(folder, "config")],
    speaksHttp2: false,
    configOf: ({ port }) =>
      [
        `Port ${port}`,
        "Listen 127.0.0.1",
        "Allow 127.0.0.1",
        "MaxClients 20",
        "Timeout 600",
        "LogLevel Error",
        ...(user === undefined ? [] : [`BasicAuth ${user} ${password}`]),
        ""
      ].join("\n")
  })

type Place = Pick<Setting, "folder" | "port" | "tlsPort">

const launch = (name: string, configOf: (place: Place) => string): Promise<Proxy> =>
  start(name, { ...kinds[name]!, program: programOf(name)!, configOf })

interface Start extends Pick<Kind, "program" | "args" | "speaksHttp2"> {
  readonly configOf: (place: Place) => string
}

const start = async (name: string, { args, configOf, program, speaksHttp2 }: Start): Promise<Proxy> => {
  const folder = mkdtempSync(join(tmpdir(), `wsmux-${name}-`))
  chmodSync(folder, 0o777) // Squid writes there as another user
  const [port, tlsPort] = await freePorts(2) as [number, number]
  writeFileSync(join(folder, "config"), configOf({ folder, port, tlsPort }))
  const child = spawn(program, [...args(folder)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output += data)
  const exited = once(child, "exit")
  const until = Date.now() + 20_000
  while (!await listens(port)) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`${name} does not listen:\n${output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    port,
    tlsPort: speaksHttp2 ? tlsPort : 0,
    child,
    stop: async () => {
      child.kill("SIGTERM")
      const timer = setTimeout(() => child.kill("SIGKILL"), 2000)
      await exited
      clearTimeout(timer)
      rmSync(folder, { recursive: true, force: true })
      removeSharedMemory(folder)
    }
  }
}
