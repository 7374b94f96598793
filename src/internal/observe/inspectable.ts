import * as Inspectable from "effect/Inspectable"

/** Makes `console.log`, `JSON.stringify` and template strings show an object as the data of `toJSON`. */
export const inspectable = (toJSON: () => unknown) => ({
  toJSON,
  toString: () => Inspectable.format(toJSON()),
  [Inspectable.NodeInspectSymbol]: toJSON
})
