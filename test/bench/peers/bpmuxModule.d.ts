declare module "bpmux" {
  import type { EventEmitter } from "node:events"
  import type { Duplex, DuplexOptions } from "node:stream"

  export interface Options {
    readonly peer_multiplex_options?: DuplexOptions
    readonly coalesce_writes?: boolean
    readonly high_channels?: boolean
    readonly keep_alive?: number | false
  }

  export class BPMux extends EventEmitter {
    constructor(carrier: Duplex, options?: Options)
    multiplex(options?: DuplexOptions): Duplex
  }
}
