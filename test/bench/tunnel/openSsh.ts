import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { eventually, find, freePort, tidyUp } from "./program.js"
import { type Entrant, Programs, reachable } from "./tunnel.js"

/** OpenSSH with keys and settings in a folder of the benchmark. The user's own files have no part in it. */
export const openSsh = (): Entrant | undefined => {
  const sshd = find("sshd", ["/usr/sbin"])
  const [ssh, keygen] = [find("ssh"), find("ssh-keygen")]
  if (sshd === undefined || ssh === undefined || keygen === undefined) return undefined
  const about = spawnSync(ssh, ["-V"], { encoding: "utf8" }).stderr.trim()
  return {
    name: "ssh",
    about: `${about}, ssh -L, encrypted`,
    inNode: false,
    version: { file: ssh, args: ["-V"] },
    start: async (target) => {
      const folder = mkdtempSync(join(tmpdir(), "tunnel-bench-"))
      const file = (name: string) => join(folder, name)
      const removeRoom = makeSshdRoom()
      const tidy = tidyUp(() => {
        removeRoom()
        rmSync(folder, { recursive: true, force: true })
      })
      return Programs.start(
        async (programs) => {
          for (const name of ["host", "user"]) {
            const made = spawnSync(keygen, ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file(name)])
            if (made.status !== 0) throw new Error(`ssh-keygen: ${made.stderr}`)
          }
          const [port, near] = [await freePort(), await freePort()]
          writeFileSync(file("known_hosts"), `[127.0.0.1]:${port} ${readFileSync(file("host.pub"), "utf8")}`)
          writeFileSync(
            file("sshd_config"),
            [
              "ListenAddress 127.0.0.1",
              `Port ${port}`,
              `HostKey ${file("host")}`,
              `AuthorizedKeysFile ${file("user.pub")}`,
              "PasswordAuthentication no",
              "KbdInteractiveAuthentication no",
              "UsePAM no",
              "StrictModes no",
              "PidFile none",
              "PermitRootLogin prohibit-password",
              "AllowTcpForwarding yes",
              ""
            ].join("\n")
          )
          programs.launchFar("sshd", { file: sshd, args: ["-D", "-e", "-f", file("sshd_config")] })
          await eventually("sshd", 15, programs.all, () => reachable(port))
          programs.launchNear("ssh", near, {
            file: ssh,
            args: [
              ...["-F", "none", "-N", "-T", "-i", file("user"), "-p", String(port)],
              ...["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ExitOnForwardFailure=yes"],
              ...["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${file("known_hosts")}`],
              ...["-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes"],
              ...["-L", `127.0.0.1:${near}:127.0.0.1:${target}`, `${userInfo().username}@127.0.0.1`]
            ]
          })
        },
        tidy
      )
    }
  }
}

/** An sshd of root demands this folder, which the system's service makes at its start. Returns how to remove it. */
const makeSshdRoom = (): () => void => {
  const room = "/run/sshd"
  if (process.getuid?.() !== 0 || existsSync(room)) return () => {}
  mkdirSync(room, { mode: 0o755 })
  return () => rmSync(room, { recursive: true, force: true })
}
