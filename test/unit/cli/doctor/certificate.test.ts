import { describe, expect, it } from "@effect/vitest"
import { adviceForNames } from "effect-wsmux/cli/doctor/certificate"

describe("adviceForNames", () => {
  const dial = "the certificate is for other names: dial one of them"

  it("adviceForNames names --sni with the first name of a host when there is one", () => {
    expect(adviceForNames("10.0.0.1, www.example.com, example.com")).toBe(
      `${dial}, or give --sni, such as www.example.com`
    )
  })

  it("adviceForNames leaves --sni out when the certificate has addresses only", () => {
    expect(adviceForNames("127.0.0.1, 0:0:0:0:0:0:0:1")).toBe(dial)
  })
})
