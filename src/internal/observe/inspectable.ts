import * as Inspectable from "effect/Inspectable"

/** How an object is shown by `console.log`, `JSON.stringify` and templates: as the data that `toJSON` gives. */
export const inspectable = (toJSON: () => unknown) => ({
  toJSON,
  toString: () => Inspectable.format(toJSON()),
  [Inspectable.NodeInspectSymbol]: toJSON
})
