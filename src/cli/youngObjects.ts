import * as V8 from "node:v8"

/**
 * Keeps the space of V8 for young objects at 2 MiB. Loading the command would make it 32 MiB, which V8 never gives
 * back. The objects of connections die young, and collecting them in 1 MiB that is in the processor's cache costs no
 * more. The buffers of passing bytes, which count little there, are freed earlier.
 *
 * Another runtime than Node may refuse the option, which is of V8.
 */
export const keepFewYoungObjects = (): void => {
  try {
    V8.setFlagsFromString("--semi-space-growth-factor=1")
  } catch {
    // such as on Bun
  }
}
