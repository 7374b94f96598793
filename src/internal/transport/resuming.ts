import * as Context from "effect/Context"

/**
 * Whether a transport is dialled to resume a session. Then the request says so where the platform allows headers: the
 * server waits for the first message before it begins a new session.
 */
export class Resuming extends Context.Reference<Resuming>()("effect-wsmux/Resuming", {
  defaultValue: () => false
}) {}

/** The header of a request that resumes. Holds no secret. */
export const resumeHeader = "wsmux-resume"
