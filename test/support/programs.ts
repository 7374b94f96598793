import { accessSync, constants, readdirSync } from "node:fs"
import { delimiter, join } from "node:path"

/** Finds a program that a suite needs, in the path or in other folders. */
export const findProgram = (name: string, elsewhere: ReadonlyArray<string> = []): string | undefined =>
  [...(process.env.PATH ?? "").split(delimiter), ...elsewhere].map((folder) => join(folder, name)).find(isExecutable)

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Debian keeps the programs of the server in folders by version, outside the path. */
const postgresFolders = (): ReadonlyArray<string> => {
  const root = "/usr/lib/postgresql"
  try {
    return readdirSync(root).sort().reverse().map((version) => join(root, version, "bin"))
  } catch {
    return []
  }
}

/** Debian keeps the browser of WebKitGTK beside its libraries. */
const webKitFolders = (): ReadonlyArray<string> => {
  const root = "/usr/lib"
  try {
    return readdirSync(root).flatMap((folder) => ["4.1", "4.0"].map((v) => join(root, folder, `webkit2gtk-${v}`)))
  } catch {
    return []
  }
}

export const programs = {
  PostgreSQL: findProgram("postgres", postgresFolders()),
  Redis: findProgram("redis-server"),
  MariaDB: findProgram("mariadbd", ["/usr/sbin"]),
  "mariadb-install-db": findProgram("mariadb-install-db"),
  OpenSSH: findProgram("sshd", ["/usr/sbin"]),
  curl: findProgram("curl"),
  git: findProgram("git"),
  dig: findProgram("dig"),
  prlimit: findProgram("prlimit"),
  "systemd-notify": findProgram("systemd-notify"),
  perl: findProgram("perl"),
  zsh: findProgram("zsh"),
  fish: findProgram("fish"),
  WebKitWebDriver: findProgram("WebKitWebDriver"),
  MiniBrowser: findProgram("MiniBrowser", webKitFolders()),
  Xvfb: findProgram("Xvfb"),
  Firefox: findProgram("firefox-esr") ?? findProgram("firefox"),
  Chromium: findProgram("chromium") ?? findProgram("chromium-browser") ?? findProgram("google-chrome")
} as const
