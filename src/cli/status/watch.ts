import type { SessionStatus, Status, StreamStatus } from "./status.js"

/** The functions of `human.ts`. */
export interface Human {
  readonly bytes: (count: number) => string
  readonly span: (millis: number) => string
}

/**
 * Shows the status in the page, and asks again every second. The page embeds this function as text, so it uses nothing
 * around it. All texts of peers become text nodes, which hold no markup.
 */
export const watch = ({ bytes, span }: Human): void => {
  const interval = 1000
  let asked: Status | undefined

  const find = (id: string): HTMLElement => document.getElementById(id)!
  const put = (id: string, text: string): void => {
    const element = find(id)
    if (element.textContent !== text) element.textContent = text
  }

  /** A cell is a text, or a number with the text that shows it. */
  type Cell = string | { readonly right: string }
  const right = (text: string): Cell => ({ right: text })

  const cell = (content: Cell, title: string): HTMLTableCellElement => {
    const td = document.createElement("td")
    td.dataset.title = title // narrow windows show it before the content
    td.textContent = typeof content === "string" ? content : content.right
    if (typeof content !== "string") td.className = "number"
    return td
  }

  const table = (id: string, rows: ReadonlyArray<ReadonlyArray<Cell>>, total = rows.length): void => {
    const section = find(id)
    const titles = Array.from(section.querySelectorAll("th"), (th) => th.textContent ?? "")
    section.querySelector("tbody")!.replaceChildren(...rows.map((cells) => {
      const tr = document.createElement("tr")
      tr.append(...cells.map((content, i) => cell(content, titles[i]!)))
      return tr
    }))
    section.classList.toggle("empty", rows.length === 0)
    put(`${id}-count`, total > rows.length ? `${rows.length} of ${total}` : String(total))
  }

  const rate = (perSecond: number): string => `${bytes(perSecond)}/s`
  const age = (status: Status, at: number | null): string => at === null ? "" : span(status.at - at)
  const of = (number: number, worker: number | null): string => worker === null ? `${number}` : `${worker}.${number}`

  const stateOf = (status: Status, session: SessionStatus): string => {
    const resumed = session.resumed === null || session.resumed === 0 ? "" : `, resumed ${session.resumed}×`
    const since = session.state === "suspended" ? ` for ${age(status, session.suspendedSince)}` : ""
    return `${session.state}${since}${resumed}`
  }

  const sessionRow = (status: Status, session: SessionStatus): ReadonlyArray<Cell> => [
    of(session.number, session.worker),
    session.peer,
    session.user ?? "–",
    session.dialect,
    stateOf(status, session),
    right(age(status, session.since)),
    right(session.roundTripMillis === null ? "–" : `${session.roundTripMillis.toFixed(1)} ms`),
    right(String(session.streams)),
    right(`${rate(session.rateIn)} · ${bytes(session.bytesIn)}`),
    right(`${rate(session.rateOut)} · ${bytes(session.bytesOut)}`)
  ]

  const streamRow = (status: Status, stream: StreamStatus): ReadonlyArray<Cell> => [
    `${of(stream.session, stream.worker)}/${stream.id}`,
    stream.label || "–",
    stream.from ?? "–",
    stream.to ?? "–",
    stream.state,
    right(age(status, stream.since) || "–"),
    right(stream.bytesIn === null ? "–" : bytes(stream.bytesIn)),
    right(stream.bytesOut === null ? "–" : bytes(stream.bytesOut)),
    right(`${bytes(stream.unread)} · ${bytes(stream.unsent)}`)
  ]

  const show = (status: Status): void => {
    asked = status
    const { lastEnd, total } = status
    document.title = `${status.ready ? "●" : "○"} wsmux ${status.command}`
    put("command", `wsmux ${status.command}`)
    put("address", status.address)
    put("version", `version ${status.version}`)
    put("readiness", status.readiness)
    find("readiness").className = status.ready ? "good" : "bad"
    put("uptime", age(status, status.startedAt))
    put("total-sessions", String(total.sessions))
    put("total-streams", String(total.streams))
    put("rate-in", rate(total.rateIn))
    put("rate-out", rate(total.rateOut))
    put("bytes-in", `${bytes(total.bytesIn)} in all`)
    put("bytes-out", `${bytes(total.bytesOut)} in all`)
    table("sessions", status.sessions.map((session) => sessionRow(status, session)), total.sessions)
    table("forwards", status.forwards.map(({ listen, option, target }) => [option, listen, target]))
    table("streams", status.streams.map((stream) => streamRow(status, stream)), total.streams)
    put("last-end", lastEnd === null ? "No session has ended." : `${lastEnd.peer}: ${lastEnd.reason}`)
    put("last-end-age", lastEnd === null ? "" : `${age(status, lastEnd.at)} ago`)
  }

  const ask = async (): Promise<void> => {
    try {
      const answer = await fetch("status.json", { signal: AbortSignal.timeout(5000) })
      if (!answer.ok) throw new Error(`the command answered ${answer.status}`)
      show(await answer.json())
      document.body.classList.remove("stale")
    } catch {
      document.body.classList.add("stale")
      put("readiness", asked === undefined ? "no answer" : `no answer for ${span(Date.now() - asked.at)}`)
      find("readiness").className = "bad"
    }
    setTimeout(() => void ask(), interval)
  }
  void ask()
}
