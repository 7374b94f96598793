/** The functions of `human.ts`. */
export interface Human {
  readonly bytes: (count: number) => string
  readonly span: (millis: number) => string
}

/** A cell is a text, or a number with the text that shows it. */
export type Cell = string | { readonly right: string }

/** The tools by which the pages of the commands show their status. */
export interface Tools extends Human {
  /** Sets the text of an element. */
  readonly put: (id: string, text: string) => void
  /** Sets the rows of a table, and their count, which may be a part of a total. */
  readonly table: (id: string, rows: ReadonlyArray<ReadonlyArray<Cell>>, total?: number) => void
  readonly right: (text: string) => Cell
}

/** The part that the status of each command has. */
interface Told {
  readonly command: string
  readonly version: string
  readonly address: string
  readonly ready: boolean
  readonly readiness: string
  readonly at: number
  readonly startedAt: number
}

/**
 * Shows the status in the page, and asks again every second. The page embeds this function and `showMore` as text, so
 * both use nothing around them. All texts of peers become text nodes, which hold no markup.
 */
export const watch = <Status extends Told>(
  { bytes, span }: Human,
  showMore: (status: Status, tools: Tools) => void
): void => {
  const interval = 1000
  let asked: Status | undefined

  const find = (id: string): HTMLElement => document.getElementById(id)!
  const put = (id: string, text: string): void => {
    const element = find(id)
    if (element.textContent !== text) element.textContent = text
  }
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

  const show = (status: Status): void => {
    asked = status
    document.title = `${status.ready ? "●" : "○"} wsmux ${status.command}`
    put("command", `wsmux ${status.command}`)
    put("address", status.address)
    put("version", `version ${status.version}`)
    put("readiness", status.readiness)
    find("readiness").className = status.ready ? "good" : "bad"
    put("uptime", span(status.at - status.startedAt))
    showMore(status, { bytes, span, put, table, right })
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
