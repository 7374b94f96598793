/**
 * The operations of the directory in Redis. Each script runs at once as a whole, so a claim compares and sets in one
 * step. `KEYS[1]` is the key of the node or the name, and `ARGV[1]` the prefix of all keys.
 *
 * A name is a JSON text with its epoch and the ids of its nodes. A name lives for a day after its last claim, and nodes
 * claim their names twice a day: so names that nothing releases do not stay. A name whose last node has left or died
 * stays for some seconds, without ids.
 */

/** How long a name without nodes is known in seconds: longer than a request waits for an agent. */
const memory = 15

/** Lists the nodes that live. `PREFIX:nodes` has their ids, and those of nodes that died since the last look. */
const list = `
local function list()
  local nodes = {}
  for _, id in ipairs(redis.call("SMEMBERS", ARGV[1] .. ":nodes")) do
    local url = redis.call("GET", ARGV[1] .. ":node:" .. id)
    if url then table.insert(nodes, { id = id, url = url }) else redis.call("SREM", ARGV[1] .. ":nodes", id) end
  end
  return nodes
end`

/** ARGV: prefix, URL, milliseconds, id. Returns whether the node was known. */
export const renew = `${list}
local known = redis.call("EXISTS", KEYS[1])
if known == 0 then list() end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
redis.call("SADD", ARGV[1] .. ":nodes", ARGV[4])
return known`

export const leave = `return redis.call("DEL", KEYS[1])`

/** Returns the nodes that live as JSON. */
export const nodes = `${list}
local nodes = list()
if #nodes == 0 then return "[]" end
return cjson.encode(nodes)`

/** Reads a name, and keeps the nodes that live. */
const read = `
local function read()
  local text = redis.call("GET", KEYS[1])
  if not text then return nil, {} end
  local name, alive = cjson.decode(text), {}
  for _, id in ipairs(name.ids) do
    if redis.call("EXISTS", ARGV[1] .. ":node:" .. id) == 1 then table.insert(alive, id) end
  end
  return name.epoch, alive
end
local function publish(name, epoch)
  redis.call("PUBLISH", ARGV[1] .. ":changes", cjson.encode({ name = name, epoch = epoch }))
end
local epoch, ids = read()`

/** ARGV: prefix, name, epoch, id. Returns the epoch that rules. */
export const claim = `${read}
local own = tonumber(ARGV[3])
if epoch and #ids > 0 and epoch > own then return string.format("%.17g", epoch) end
local others = {}
if epoch == own then
  for _, id in ipairs(ids) do
    if id ~= ARGV[4] then table.insert(others, id) end
  end
end
table.insert(others, ARGV[4])
redis.call("SET", KEYS[1], cjson.encode({ epoch = own, ids = others }), "EX", 86400)
publish(ARGV[2], own)
return ARGV[3]`

/** ARGV: prefix, name, epoch, id. */
export const release = `${read}
if epoch ~= tonumber(ARGV[3]) then return 0 end
local others = {}
for _, id in ipairs(ids) do
  if id ~= ARGV[4] then table.insert(others, id) end
end
redis.call("SET", KEYS[1], cjson.encode({ epoch = epoch, ids = others }), "EX", #others == 0 and ${memory} or 86400)
publish(ARGV[2], epoch)
return 1`

/** Returns the entry as JSON, or nothing for an unknown name. */
export const find = `${read}
if not epoch then return nil end
local nodes = {}
for _, id in ipairs(ids) do
  table.insert(nodes, { id = id, url = redis.call("GET", ARGV[1] .. ":node:" .. id) })
end
if #nodes > 0 then return cjson.encode({ epoch = epoch, nodes = nodes }) end
if redis.call("TTL", KEYS[1]) > ${memory} then
  redis.call("SET", KEYS[1], cjson.encode({ epoch = epoch, ids = {} }), "EX", ${memory})
end
return cjson.encode({ epoch = epoch }):sub(1, -2) .. ',"nodes":[]}'`

/**
 * ARGV: prefix, units, units a second, `take` or `owe`. Returns the units that were taken, or what is left. The key
 * lives until the budget is full again.
 *
 * The limiter of `@effect/experimental` keeps the keys of its token buckets for good, its windows fail where a limit
 * divides no second into whole milliseconds, such as 3 (0.61.1), and it connects to Redis a second time.
 */
export const budget = `
local units, rate = tonumber(ARGV[2]), tonumber(ARGV[3])
local most = math.max(1, rate)
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call("HMGET", KEYS[1], "left", "at")
local left = most
if known[1] then left = math.min(most, known[1] + math.max(0, now - known[2]) * rate / 1000) end
local taken = units
if ARGV[4] == "take" then taken = math.max(0, math.min(units, math.floor(left))) end
left = left - taken
redis.call("HSET", KEYS[1], "left", string.format("%.17g", left), "at", string.format("%.0f", now))
redis.call("PEXPIRE", KEYS[1], string.format("%.0f", math.min(86400000, math.ceil((most - left) / rate * 1000) + 1000)))
if ARGV[4] == "take" then return taken end
return string.format("%.17g", left)`
