import type * as Place from "../place.js"

/** What a client of the proxy asks for. */
export interface Request {
  readonly target: Place.Port
  /** The answer once the target is connected. */
  readonly accept: Uint8Array
  /** The bytes for the target that came with the request. */
  readonly rest: Uint8Array
  /** The answer when the target is not connected. */
  readonly refuse: Refuse
}

/** Returns the answer for a reset code of the two commands, and its reason. */
export type Refuse = (code: number, reason: string) => Uint8Array

/** How far the beginning of a connection is understood. */
export type Parsed<A> =
  | { readonly _tag: "Incomplete" }
  /** `answer` goes to the client before the connection is closed. */
  | { readonly _tag: "Malformed"; readonly answer: Uint8Array }
  | { readonly _tag: "Complete"; readonly value: A }

export const incomplete: Parsed<never> = { _tag: "Incomplete" }

export const malformed = (answer: Uint8Array): Parsed<never> => ({ _tag: "Malformed", answer })

export const complete = <A>(value: A): Parsed<A> => ({ _tag: "Complete", value })

export const nothing = new Uint8Array()
