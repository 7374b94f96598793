/** The variable with the bearer token. The options `--token` and `--token-file` take precedence. */
export const token = "WSMUX_TOKEN"

/** The variable with the directory of `relay`, whose URL may hold a password. `--directory` takes precedence. */
export const directory = "WSMUX_DIRECTORY"

/**
 * The variable that makes the command end when its standard input ends. The demo sets it for the processes that it
 * starts, and holds their inputs open. Hence these processes end with the demo, also when SIGKILL ends the demo.
 */
export const endsWithInput = "WSMUX_ENDS_WITH_INPUT"

/** The variable with the number of a worker. `serve --workers` sets it for the processes that it starts. */
export const worker = "WSMUX_WORKER"
