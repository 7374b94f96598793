import * as Data from "effect/Data"

/** Marks the errors that end a session, also for another copy of this package in the same program. */
export const TerminalTypeId: unique symbol = Symbol.for("effect-wsmux/WsmuxError/TerminalError")

/** A tagged error that ends a session. The mark lies on the prototype, so that each error has its own fields only. */
export const TerminalTaggedError = <Tag extends string>(tag: Tag): ReturnType<typeof Data.TaggedError<Tag>> => {
  const Base = Data.TaggedError(tag)
  Object.defineProperty(Base.prototype, TerminalTypeId, { value: TerminalTypeId })
  return Base
}
