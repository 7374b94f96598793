/** What the suite needs of a browser. */
export interface Tab {
  readonly goto: (url: string) => Promise<unknown>
  /** Runs a function of the page, and answers with what its promise resolves to. */
  readonly evaluate: <A>(work: () => Promise<A>) => Promise<A>
  /** The uncaught errors of the page so far. */
  readonly complaints: ReadonlyArray<string>
  readonly close: () => Promise<unknown>
}

export interface Browser {
  readonly open: () => Promise<Tab>
  readonly close: () => Promise<void>
}
