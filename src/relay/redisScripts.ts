import { claimMillis } from "./ruling.js"

/**
 * The operations of the directory in Redis. Each script runs at once as a whole, so a claim compares and sets in one
 * step. `KEYS[1]` is the key of the node or the name, and `ARGV[1]` the prefix of all keys.
 *
 * A name is a JSON text with its epoch and its agents: each with its id, its node, its program, which is empty where
 * the agent does not tell, and the time at which the agent connected. A name lives for a day after its last claim, and
 * nodes claim their names twice a day: so names that nothing releases do not stay. A name whose last node has left or
 * died stays for some seconds, without agents.
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

/** Reads a name: the agents whose nodes live, and all. An empty table is no list in JSON, so it is left out. */
const read = `
local function read()
  local text = redis.call("GET", KEYS[1])
  if not text then return nil, {}, {} end
  local name, alive = cjson.decode(text), {}
  for _, agent in ipairs(name.agents or {}) do
    if redis.call("EXISTS", ARGV[1] .. ":node:" .. agent.node) == 1 then table.insert(alive, agent) end
  end
  return name.epoch, alive, name.agents or {}
end
local function listed(list)
  if #list > 0 then return list end
end
local function owners(agents)
  local owners, byId = {}, {}
  for _, agent in ipairs(agents) do
    local owner = byId[agent.node]
    local url = not owner and redis.call("GET", ARGV[1] .. ":node:" .. agent.node)
    if owner then
      owner.agents = owner.agents + 1
    elseif url then
      owner = { id = agent.node, url = url, agents = 1 }
      byId[agent.node] = owner
      table.insert(owners, owner)
    end
  end
  table.sort(owners, function(a, b) return a.id < b.id end)
  return listed(owners)
end
local function set(name, epoch, agents, superseded)
  local text = cjson.encode({ epoch = epoch, agents = listed(agents) })
  redis.call("SET", KEYS[1], text, "EX", #agents == 0 and ${memory} or 86400)
  local news = { name = name, epoch = epoch, nodes = owners(agents), superseded = listed(superseded) }
  redis.call("PUBLISH", ARGV[1] .. ":changes", cjson.encode(news))
end
local epoch, agents, all = read()`

/** ARGV: prefix, name, epoch, node, agent, program, age, most agents, `claim` or `weigh`. Returns the ruling. */
export const claim = `${read}
local function takesPlace(agent, other, isLater)
  return agent.epoch > other.epoch or
    (agent.epoch == other.epoch and isLater and (other.program == "" or other.program == agent.program))
end
local own, id, program = tonumber(ARGV[3]), ARGV[5], ARGV[6]
local time = redis.call("TIME")
local at = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[7])
local others, superseded = {}, {}
for _, agent in ipairs(agents) do
  if agent.id ~= id then
    local isLater = agent.at > at + ${claimMillis}
    local here, claimed = { epoch = epoch, program = agent.program }, { epoch = own, program = program }
    if takesPlace(here, claimed, isLater) then return "superseded" end
    if takesPlace(claimed, here, not isLater) then
      table.insert(superseded, agent.id)
    else
      table.insert(others, agent)
    end
  end
end
if #others >= tonumber(ARGV[8]) then return "full" end
if ARGV[9] == "weigh" then return "admitted" end
table.insert(others, { id = id, node = ARGV[4], program = program, at = at })
set(ARGV[2], own, others, superseded)
return "admitted"`

/** ARGV: prefix, name, agent. A node that is late to renew must not bring the agent back, so all agents count. */
export const release = `${read}
local known, others = false, {}
for _, agent in ipairs(all) do known = known or agent.id == ARGV[3] end
for _, agent in ipairs(agents) do
  if agent.id ~= ARGV[3] then table.insert(others, agent) end
end
if known then set(ARGV[2], epoch, others, {}) end`

/** Returns the entry as JSON, or nothing for an unknown name. */
export const find = `${read}
if not epoch then return nil end
if #agents > 0 then return cjson.encode({ epoch = epoch, nodes = owners(agents) }) end
if redis.call("TTL", KEYS[1]) > ${memory} then
  redis.call("SET", KEYS[1], cjson.encode({ epoch = epoch }), "EX", ${memory})
end
return cjson.encode({ epoch = epoch }):sub(1, -2) .. ',"nodes":[]}'`

/**
 * ARGV: prefix, units, units a second, `take` or `owe`, and of a debt the teller and its total. Returns the units that
 * were taken, or what is left. The key lives until the budget is full again. Another key has the total of the teller
 * for a minute, so that the units of a repeated debt count once.
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
if ARGV[4] == "take" then
  taken = math.max(0, math.min(units, math.floor(left)))
elseif units > 0 then
  local teller, total = KEYS[1] .. ":" .. ARGV[5], tonumber(ARGV[6])
  local before = tonumber(redis.call("GET", teller) or total - units)
  taken = math.max(0, math.min(units, total - before))
  redis.call("SET", teller, string.format("%.17g", math.max(before, total)), "PX", 60000)
end
left = left - taken
redis.call("HSET", KEYS[1], "left", string.format("%.17g", left), "at", string.format("%.0f", now))
redis.call("PEXPIRE", KEYS[1], string.format("%.0f", math.min(86400000, math.ceil((most - left) / rate * 1000) + 1000)))
if ARGV[4] == "take" then return taken end
return string.format("%.17g", left)`
