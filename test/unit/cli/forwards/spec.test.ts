import { describe, expect, it } from "@effect/vitest"
import * as Place from "effect-wsmux/cli/forwards/place"
import * as Spec from "effect-wsmux/cli/forwards/spec"
import * as fc from "effect/FastCheck"
import * as Option from "effect/Option"

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9](\.[a-z]{2,5})?$/)
const host = fc.oneof(name, fc.ipV4(), fc.ipV6())
const path = fc.stringMatching(/^(\/[\w.@ -]{0,9}[\w.]){1,4}$/).map(Place.path)
const target = fc.oneof(
  fc.tuple(host, fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => Place.port(host, port)),
  path
)
const bind = fc.oneof(fc.constant("*"), host.filter((host) => host !== "udp" && host !== "tcp"))
const listen = fc.oneof(
  fc.tuple(bind, fc.integer({ min: 0, max: 65_535 })).map(([host, port]) => Place.port(host, port)),
  path
)

const isPort = (place: Place.Place) => place._tag === "Port"

const forward: fc.Arbitrary<Spec.Forward> = fc.record({
  side: fc.constantFrom("local" as const, "remote" as const),
  protocol: fc.constantFrom("tcp" as const, "udp" as const),
  listen,
  target
}).filter(({ listen, protocol, target }) => protocol === "tcp" || (isPort(listen) && isPort(target)))

const proxy: fc.Arbitrary<Spec.Forward> = fc.record({
  side: fc.constant("local" as const),
  protocol: fc.constant("tcp" as const),
  listen,
  target: fc.constant("proxy" as const)
})

const tcp = (side: Spec.Forward["side"], listen: Place.Place, target: Spec.Forward["target"]) =>
  Option.some<Spec.Forward>({ side, protocol: "tcp", listen, target })
const near = (port: number) => Place.port("127.0.0.1", port)

describe("Spec", () => {
  it("Spec.parse returns the same forward when Spec.format has printed it", () => {
    fc.assert(fc.property(forward, (forward) => {
      expect(Spec.parse(forward.side, Spec.format(forward))).toEqual(Option.some(forward))
    }))
  })

  it("Spec.parseProxy returns the same proxy when Spec.format has printed it", () => {
    fc.assert(fc.property(proxy, (proxy) => {
      expect(Spec.parseProxy(proxy.side, Spec.format(proxy))).toEqual(Option.some(proxy))
    }))
  })

  it("Spec.parse returns none or a forward that it prints again when a text is random", () => {
    fc.assert(fc.property(fc.stringMatching(/^[a-z0-9:/[\]*.]{0,24}$/), (text) => {
      const parsed = Spec.parse("remote", text)
      if (Option.isSome(parsed)) expect(Spec.parse("remote", Spec.format(parsed.value))).toEqual(parsed)
    }))
  })

  const locals: ReadonlyArray<readonly [string, Place.Place, Place.Place]> = [
    ["8080:db:80", near(8080), Place.port("db", 80)],
    ["0.0.0.0:8080:[::1]:80", Place.port("0.0.0.0", 8080), Place.port("::1", 80)],
    ["[::1]:8080:db.example:80", Place.port("::1", 8080), Place.port("db.example", 80)],
    [":8080:db:80", Place.port("*", 8080), Place.port("db", 80)],
    ["*:8080:db:80", Place.port("*", 8080), Place.port("db", 80)],
    ["0:db:80", near(0), Place.port("db", 80)],
    ["8080:/run/a.sock", near(8080), Place.path("/run/a.sock")],
    ["localhost:8080:/run/a.sock", Place.port("localhost", 8080), Place.path("/run/a.sock")],
    ["/run/a.sock:db:80", Place.path("/run/a.sock"), Place.port("db", 80)],
    ["/run/a:/run/tcp/udp", Place.path("/run/a"), Place.path("/run/tcp/udp")]
  ]
  for (const [text, listen, target] of locals) {
    it(`Spec.parse understands ${text} as ssh does`, () => {
      expect(Spec.parse("local", text)).toEqual(tcp("local", listen, target))
    })
  }

  it("Spec.parse returns none when a forward is written as an address", () => {
    for (const text of ["tcp://8080:db:80", "udp://53:1.1.1.1:53", "tcp:///run/a:/run/b"]) {
      expect([text, Spec.parse("local", text)]).toEqual([text, Option.none()])
      expect([text, Spec.parse("remote", text)]).toEqual([text, Option.none()])
      expect([text, Spec.parseRemote(text)]).toEqual([text, Option.none()])
    }
  })

  it("Spec.parse returns a proxy when -R names only a listener", () => {
    expect(Spec.parse("remote", "1080")).toEqual(tcp("remote", near(1080), "proxy"))
    expect(Spec.parse("remote", "*:1080")).toEqual(tcp("remote", Place.port("*", 1080), "proxy"))
    expect(Spec.parse("local", "1080")).toEqual(Option.none())
  })

  it("Spec.parse takes udp before the listener or behind the target", () => {
    const dns = Option.some<Spec.Forward>({
      side: "local",
      protocol: "udp",
      listen: near(53),
      target: Place.port("1.1.1.1", 53)
    })
    expect(Spec.parse("local", "udp:53:1.1.1.1:53")).toEqual(dns)
    expect(Spec.parse("local", "53:1.1.1.1:53/udp")).toEqual(dns)
  })

  const wrong = [
    ...["", ":", "80", "db:80", "8080:db", "8080:db:", "8080:db:0", "8080:db:65536", "65536:db:80", "8080:db:http"],
    ...["a:b:c:d", "1:2:3:4:5", "::1:80:db:80", "[::1:80:db:80", "8080:[db]:80", "8080:[::1:80", "8080:d b:80"],
    ...["8080:999.1.1.1:80", "8080:a/b:80", "8080:db:80/", "8080:relative.sock", "8080:/", "8080:/a/", "udp:80:/a"],
    ...["udp:/a:db:80", "udp:udp:80:db:80", "8080:*:80", `8080:/${"a".repeat(120)}`, "8080:-db:80", "8080:db-:80"]
  ]
  for (const text of wrong) {
    it(`Spec.parse returns none when -L is given ${JSON.stringify(text).slice(0, 40)}`, () => {
      expect(Spec.parse("local", text)).toEqual(Option.none())
    })
  }
})

describe("Spec.parseRemote", () => {
  const understood: Readonly<Record<string, readonly ["-L" | "-R" | "-D", string]>> = {
    "3000": ["-L", "127.0.0.1:3000:127.0.0.1:3000"],
    "8080:80": ["-L", "127.0.0.1:8080:127.0.0.1:80"],
    "db:5432": ["-L", "127.0.0.1:5432:db:5432"],
    "5432:db:5432": ["-L", "127.0.0.1:5432:db:5432"],
    "0.0.0.0:5432:db:5433": ["-L", "0.0.0.0:5432:db:5433"],
    "1.1.1.1:53/udp": ["-L", "udp:127.0.0.1:53:1.1.1.1:53"],
    "[::1]:53/udp": ["-L", "udp:127.0.0.1:53:[::1]:53"],
    "5432:/run/db.sock": ["-L", "127.0.0.1:5432:/run/db.sock"],
    "socks": ["-D", "127.0.0.1:1080"],
    "5000:socks": ["-D", "127.0.0.1:5000"],
    "0.0.0.0:5000:socks": ["-D", "0.0.0.0:5000"],
    "R:2222:localhost:22": ["-R", "127.0.0.1:2222:localhost:22"],
    "R:8080": ["-R", "127.0.0.1:8080:127.0.0.1:8080"],
    "R:0.0.0.0:8080:web:80": ["-R", "0.0.0.0:8080:web:80"],
    "R:53:127.0.0.1:53/udp": ["-R", "udp:127.0.0.1:53:127.0.0.1:53"],
    "R:socks": ["-R", "127.0.0.1:1080"]
  }
  for (const [text, [option, printed]] of Object.entries(understood)) {
    it(`Spec.parseRemote understands chisel's ${text}`, () => {
      const parsed = Option.getOrThrow(Spec.parseRemote(text)) as Spec.Forward
      expect([Spec.optionOf(parsed), Spec.format(parsed)]).toEqual([option, printed])
    })
  }

  it("Spec.parseRemote returns the target of -W when the remote is chisel's stdio", () => {
    const parsed = Spec.parseRemote("stdio:host:22")
    expect(parsed).toEqual(Option.some({ side: "stdio", target: Place.port("host", 22) }))
  })

  for (
    const text of ["", "R:", "http", "host", "socks/udp", "stdio", "stdio:22", "1:b:2:c:3", "3000/sctp"]
  ) {
    it(`Spec.parseRemote returns none when it is given ${JSON.stringify(text)}`, () => {
      expect(Spec.parseRemote(text)).toEqual(Option.none())
    })
  }
})
