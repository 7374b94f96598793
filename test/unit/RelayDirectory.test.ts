import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import { directorySuite } from "../support/directorySuite.js"

directorySuite("memory", RelayDirectory.makeMemory)
