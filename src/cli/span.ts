import * as Duration from "effect/Duration"

/** Formats a duration for people, always with a unit. */
export const formatSpan = (duration: Duration.Duration): string =>
  Duration.equals(duration, Duration.zero) ? "0s" : Duration.format(duration)
