// The headers that a relay shares with its clients and with the websocktunnel of Taskcluster.

/** The header of a request by which an agent tells its name, which websocktunnel calls an id. */
export const nameHeader = "x-websocktunnel-id"

/** The header of an answer that tells an agent its public URL. */
export const urlHeader = "x-websocktunnel-client-url"

/** The header of an answer of a relay that tells a client the name whose agents its streams reach. */
export const relayHeader = "wsmux-relay"
