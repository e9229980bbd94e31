/**
 * The operations as scripts: each runs alone on its server, so what it reads and what it changes belong together, and its
 * reply tells which call it answers. Times are the server's own.
 *
 * - PUBLISH is a script's first call: a channel that the user may not use then fails before anything has changed. On a
 *   Cluster it goes to a channel that has the name of the node that runs the script: a Cluster passes messages on to all its
 *   nodes, unordered and without a promise, and only listeners of that node are to hear it.
 * - Scripts that only remove, or must not fail when memory is full, declare `allow-oom`. Those that store a value do
 *   not: the server refuses them, and the value is not kept.
 * - None declares `no-writes`: a replica, or a server that has lost its disk or too many replicas, refuses even the
 *   heartbeat. So an unusable primary is found out.
 *
 * @see https://redis.io/docs/latest/develop/programmability/eval-intro/ script flags, since Redis 7.0
 */

import {
  type Field,
  HOLDER_LENGTH,
  HOLDERS_AT,
  LAYOUT,
  MAX_GUARD_LENGTH,
  MAX_HOLDERS,
  MERGED,
  NO_CLAIM,
} from '../shared/register.ts'

/** How the error of a script begins that was called by the name of another. */
export const WRONG_SCRIPT = 'WRONGSCRIPT'

/** One script, and its name on the servers once it has been loaded. */
export interface Script {
  readonly name: string
  readonly source: string
  /** SHA-1 of the source in hexadecimal; `undefined` until a server has said it. */
  sha: string | undefined
}

const ANYWAY = '#!lua flags=allow-oom'
const WITH_ROOM = '#!lua'

const { letters, value, holder } = LAYOUT

/** A Lua expression for a field of a text. Lua counts from 1. */
const part = (text: string, { at, length }: Field): string => `string.sub(${text}, ${at + 1}, ${at + length})`
/** The same in a text of which `from` is the first character. */
const partFrom = (text: string, from: string, { at, length }: Field): string =>
  `string.sub(${text}, ${from} + ${at}, ${from} + ${at + length - 1})`

/** A Lua pattern for the beginning of a register. */
const OURS = `^[${letters.value}${letters.lease}${letters.stamp}${letters.guard}]`

/** A Lua pattern for the beginning of a readable lease or stamp. Both are a letter and a token, and nothing else. */
const TOKEN_ALONE = `^[${letters.lease}${letters.stamp}][%w_.-]`
const TOKEN_ALONE_LENGTH = LAYOUT.lease.token.at + LAYOUT.lease.token.length

/** A time from here on, in 2001, fills its field. */
const LEAST_LONG_TIME = 10 ** (LAYOUT.timeLength - 1)

/** `stamp`: a time as long as its field. A format takes longer, and on servers of 32 bits one for integers is too small. */
const TIME = `
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function stamp(ms)
  if ms >= ${LEAST_LONG_TIME} then return ms .. '' end
  return string.format('%0${LAYOUT.timeLength}.0f', ms)
end
`

/** `lifeOf`: the life that is left, in milliseconds; -1: for ever; `nil` for a user without the right to PTTL. */
const LIFE = `
local function lifeOf(key)
  local life = redis.pcall('PTTL', key)
  return type(life) == 'number' and life or nil
end
`

/**
 * Reads what may be a guard. Of a guard that is longer than this version writes, only its first two characters and its life
 * are read, so that a long text does not hold up the server: its writers are not told apart.
 *
 * Mostly there is no guard, or its only writer is the one who asks. So scripts see to these cases first, and make the
 * functions of `GUARD` only for others.
 */
const READ = `
local find, sub = string.find, string.sub
local text = redis.pcall('GETRANGE', KEYS[1], 0, ${MAX_GUARD_LENGTH})
local isGuard = type(text) == 'string' and sub(text, 1, 1) == '${letters.guard}'
`

/**
 * `guardOf`: the writers of the guard that was read, and whether it is dirty; `nil` where there is none. As strict as
 * `parseRegister`. A guard that cannot be read is of a later version: it is made dirty, and the third result says that it is
 * to be left alone.
 *
 * The other writers stay one text, without the writer of the given token: taking 64 writers apart and putting them together
 * again held up everybody else for a third of a millisecond. Deadlines have a fixed width, so that they compare as texts.
 */
const GUARD = `${LIFE}
local first, size = ${HOLDERS_AT + 1}, ${HOLDER_LENGTH}
local function placeOf(text, token)
  local place = find(text, token, first, true)
  while place and (place - first) % size ~= 0 do place = find(text, token, place + 1, true) end
  return place
end
local function without(text, place)
  return place and sub(text, 1, place - 1) .. sub(text, place + size) or text
end
local function parseGuard(token)
  if #text < ${HOLDERS_AT + HOLDER_LENGTH} or (#text - first + 1) % size ~= 0 then return nil end
  local own = token and placeOf(text, token)
  local earliest, latest = '${'9'.repeat(LAYOUT.timeLength)}', '${'0'.repeat(LAYOUT.timeLength)}'
  for at = first, #text, size do
    local deadline = ${partFrom('text', 'at', holder.deadline).replace('string.', '')}
    if find(deadline, '%D') then return nil end
    if at ~= own then
      if deadline < earliest then earliest = deadline end
      if deadline > latest then latest = deadline end
    end
  end
  return { others = without(text, own), found = own ~= nil, earliest = earliest, latest = latest },
    ${part('text', LAYOUT.guard.dirty)} == '1'
end
local function guardOf(token)
  if not isGuard then return nil end
  local isOurs = find(text, '^.[01]')
  if isOurs and #text > ${MAX_GUARD_LENGTH} then
    if lifeOf(KEYS[1]) == -1 then return nil end
    return { isTooLong = true }, true, false
  end
  if isOurs then
    local guard, dirty = parseGuard(token)
    if guard then return guard, dirty, false end
  end
  local at = isOurs and ${LAYOUT.guard.dirty.at} or ${LAYOUT.guard.laterDirty.at}
  if #text > at then redis.call('SETRANGE', KEYS[1], at, '1') end
  return nil, true, true
end
`

/** How a clean guard begins. */
const CLEAN = `'${letters.guard}0'`
const DIRTY = `'${letters.guard}1'`

const PUBLISH = `redis.call('PUBLISH', ARGV[1], ARGV[2])\n`
const PUBLISH_BY_NODE = `redis.call('PUBLISH', ARGV[1] .. ':' .. redis.call('CLUSTER', 'MYID'), ARGV[2])\n`

/** The channel that a script run by a node of a Cluster publishes to. */
export const channelOf = (channel: string, nodeId: string): string => `${channel}:${nodeId}`

/** Flags, and what is to be done. */
interface Source {
  readonly flags: string
  readonly body: string
}
const source = (flags: string, ...parts: string[]): Source => ({ flags, body: parts.join('') })

/**
 * The whole script. Its last argument is its name and a number, which come back as the first part of its reply. So a reply
 * that was lost or added on the way never passes for another. And a script that got another script's name, because the reply
 * to its loading was mixed up, does nothing.
 */
const whole = (name: string, { flags, body }: Source): string => `${flags}
local echo = table.remove(ARGV)
if string.sub(echo, 1, ${name.length + 1}) ~= '${name} ' then return redis.error_reply('${WRONG_SCRIPT} this is ${name}') end
local function answer()
${body}
end
return { echo, answer() }
`

/** KEYS: register. ARGV: channel, message, token, guardMs, '1' for a renewal. Says what the guard found. */
const guard = source(
  ANYWAY,
  TIME,
  PUBLISH,
  READ,
  `
local now, renewal = nowMs(), ARGV[5] == '1'
local own = stamp(now + ARGV[4])
if not isGuard then
  redis.call('SET', KEYS[1], (renewal and ${DIRTY} or ${CLEAN}) .. ARGV[3] .. own, 'PXAT', own)
  return renewal and 'rejoined' or 'new'
end
`,
  GUARD,
  `
local guard, dirty, later = guardOf(ARGV[3])
if later then return 'barred' end
local latest, merged = nil, nil
-- The others, behind what a guard begins with.
local text, found = ${CLEAN}, false
if guard and guard.isTooLong then merged = stamp(now + (lifeOf(KEYS[1]) or ARGV[4]))
elseif guard then
  text, found, latest = guard.others, guard.found, guard.latest
  local place = placeOf(text, '${MERGED}')
  merged = place and ${partFrom('text', 'place', holder.deadline)}
  text = without(text, place)
end
local token = ARGV[3]
if #text - first + 1 >= ${MAX_HOLDERS} * size then
  token = '${MERGED}'
  if merged and merged > own then own = merged end
elseif merged then text = text .. '${MERGED}' .. merged end
if not latest or own > latest then latest = own end
if merged and merged > latest then latest = merged end
-- Anybody else there, now or while this writer's token was missing: nothing may be written through any more.
dirty = dirty or (guard and not found) or (renewal and not found)
redis.call('SET', KEYS[1], (dirty and ${DIRTY} or ${CLEAN}) .. sub(text, first) .. token .. own, 'PXAT', latest)
return found and 'renewed' or (renewal and 'rejoined' or 'new')
`,
)

const RELEASE = `
if not isGuard then
  redis.call('DEL', KEYS[1])
  return { 0, 0 }
end
local function put(now)
  redis.call('SET', KEYS[1], ARGV[4] .. stamp(now) .. stamp(now + ARGV[6]) .. ARGV[5], 'PX', ARGV[7])
  return { 1, 1 }
end
-- Being in the guard is what counts, not the deadline: as long as the register stood, nobody could fill.
local isAlone = #text == ${HOLDERS_AT + HOLDER_LENGTH} and sub(text, 3, ${HOLDERS_AT} + ${holder.token.length}) == ARGV[3]
if isAlone and find(text, '^.[01]') and not find(text, '%D', ${HOLDERS_AT + holder.token.length + 1}) then
  if ARGV[4] and ${part('text', LAYOUT.guard.dirty)} == '0' then return put(nowMs()) end
  redis.call('DEL', KEYS[1])
  return { 1, 0 }
end
${GUARD}
local guard, dirty, later = guardOf(ARGV[3])
if later then return { 0, 0 } end
if not guard then
  redis.call('DEL', KEYS[1])
  return { 0, 0 }
end
if guard.isTooLong then
  redis.call('SETRANGE', KEYS[1], ${LAYOUT.guard.dirty.at}, '1')
  return { 0, 0 }
end
local held = guard.found and 1 or 0
local now = nowMs()
local left, nowText = sub(guard.others, first), stamp(now)
if guard.earliest <= nowText then
  left = ''
  for at = first, #guard.others, size do
    if ${partFrom('guard.others', 'at', holder.deadline).replace('string.', '')} > nowText then
      left = left .. sub(guard.others, at, at + size - 1)
    end
  end
end
if left ~= '' then
  redis.call('SET', KEYS[1], ${DIRTY} .. left, 'PXAT', guard.latest)
  return { held, 0 }
end
if ARGV[4] and held == 1 and not dirty then return put(now) end
redis.call('DEL', KEYS[1])
return { held, 0 }
`

/** KEYS: register. ARGV: channel, message, token. Says whether the token was there. */
const release = source(ANYWAY, TIME, PUBLISH, READ, RELEASE)

/** As `release`, with more in ARGV: value up to its times, value from there on, freshMs, life in ms. */
const releaseThrough = source(WITH_ROOM, TIME, PUBLISH, READ, RELEASE)

/** KEYS: register. ARGV: channel, message. */
const invalidate = source(
  ANYWAY,
  PUBLISH,
  READ,
  GUARD,
  `
local guard, _, later = guardOf()
if later then return end
if guard then redis.call('SETRANGE', KEYS[1], ${LAYOUT.guard.dirty.at}, '1') else redis.call('DEL', KEYS[1]) end
`,
)

/** The text for a key of another type than a string: no version has written such a register. */
export const NOT_A_STRING = '?not a string'
/** The text for a long text that does not begin as a register. */
export const LONG_STRANGER = '?too long'

/** How many bytes the registers may have that a script answers with, all but the last together. */
export interface ReplyBounds {
  readonly togetherBytes: number
}

/**
 * Takes the first of ARGV: how many bytes a register may have that is sent. `textOf`: the text in a reply; 0 for a register that
 * is too long, and for all others once the replies of this script are as long as they may be (`mayAsk`). Any error but that of
 * another type is an error of the whole script.
 */
const text = ({ togetherBytes }: ReplyBounds): string => `
local most, room = tonumber(table.remove(ARGV, 1)), ${togetherBytes}
local function mayAsk() return room > 0 end
local function textOf(reply)
  if type(reply) == 'string' then
    if #reply > most then return string.find(reply, '${OURS}') and 0 or '${LONG_STRANGER}' end
    room = room - #reply
    return reply
  end
  if type(reply) ~= 'table' then return reply end
  if string.sub(reply.err, 1, 9) ~= 'WRONGTYPE' then error(reply) end
  return '${NOT_A_STRING}'
end
`

/** Whether a text begins as a register does. */
export const beginsAsRegister = (text: string): boolean => new RegExp(OURS).test(text)

/**
 * KEYS: registers. ARGV: most bytes. What is there, for a primary whose memory is full, and where some are too large. A plain
 * GET would also be answered by a server that has too few replicas left, or has just become a replica: its values may be long
 * out of date.
 */
const look = (bounds: ReplyBounds): Source =>
  source(
    ANYWAY,
    text(bounds),
    `
local replies = {}
for i = 1, #KEYS do
  if mayAsk() then replies[i] = textOf(redis.pcall('GET', KEYS[i])) else replies[i] = 0 end
end
return replies
`,
  )

/**
 * `limitLife`: gives a lease or a guard the end that it was stored with, where somebody has taken it away: by PERSIST, or by
 * RESTORE without a life. Otherwise every reader would wait for that lease for ever, or bypass because of that guard. It ends
 * with its last writer's deadline, as it would have.
 */
const LIFELESS = `
local find, sub = string.find, string.sub
local function limitLife(key, text)
  if redis.pcall('PTTL', key) ~= -1 then return end
  if #text == ${TOKEN_ALONE_LENGTH} and find(text, '${TOKEN_ALONE}') then
    redis.call('SET', key, text, 'PX', ARGV[1])
  elseif find(text, '^${letters.guard}[01]') and #text <= ${MAX_GUARD_LENGTH} then
    local first, size, latest = ${HOLDERS_AT + 1}, ${HOLDER_LENGTH}, ''
    if #text < first + size - 1 or (#text - first + 1) % size ~= 0 then return end
    for at = first, #text, size do
      local deadline = ${partFrom('text', 'at', holder.deadline).replace('string.', '')}
      if find(deadline, '%D') then return end
      if deadline > latest then latest = deadline end
    end
    if latest > stamp(nowMs()) then redis.call('SET', key, text, 'PXAT', latest) else redis.call('DEL', key) end
  end
end
`

/** KEYS: registers. ARGV: most bytes, life in ms, then a lease or a stamp for each. Says what was there, for each. */
const create = (bounds: ReplyBounds): Source =>
  source(
    WITH_ROOM,
    text(bounds),
    `
local replies = {}
for i = 1, #KEYS do
  local reply = 0
  if mayAsk() then
    reply = textOf(redis.pcall('SET', KEYS[i], ARGV[i + 1], 'NX', 'GET', 'PX', ARGV[1]))
    local letter = type(reply) == 'string' and string.sub(reply, 1, 1)
    if letter == '${letters.lease}' or letter == '${letters.guard}' then
      ${TIME}${LIFELESS}
      limitLife(KEYS[i], reply)
    end
  end
  replies[i] = reply
end
return replies
`,
  )

/**
 * KEYS: register. ARGV: stamp, life in ms. It takes no more room than before. If the remaining life may not be read, the new
 * one is set: a stamp that ends early only makes values fall.
 */
const renewStamp = source(
  ANYWAY,
  LIFE,
  `
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1]) ~= ARGV[1] then return 0 end
local life = lifeOf(KEYS[1]) or 0
if life ~= -1 and life < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
`,
)

/** KEYS: register. ARGV: prefix, value up to its times, value from there on, freshMs, life in ms. */
const fill = source(
  WITH_ROOM,
  TIME,
  `
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
local now = nowMs()
redis.call('SET', KEYS[1], ARGV[2] .. stamp(now) .. stamp(now + ARGV[4]) .. ARGV[3], 'PX', ARGV[5])
return 1
`,
)

/**
 * KEYS: register. ARGV: how it is compared, with what; for a swap also the lease and its life in ms.
 *
 * `unreadable` matches anything that does not begin as a register, or is of another type: bytes that are not UTF-8 cannot be
 * compared with the text that a client has made of them.
 */
const replace = source(
  ANYWAY,
  `
local function stands(key, how, seen)
  if how == 'prefix' then return redis.pcall('GETRANGE', key, 0, #seen - 1) == seen end
  local text = redis.pcall('GET', key)
  if how == 'exactly' then
    return text == seen and (not string.find(text, '${OURS}') or (#text == ${TOKEN_ALONE_LENGTH} and string.find(text, '${TOKEN_ALONE}')))
  end
  return type(text) == 'table' or (text and not string.find(text, '${OURS}'))
end
if not stands(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) else redis.call('DEL', KEYS[1]) end
return 1
`,
)

/** KEYS: register. ARGV: nonce, token, claimMs. Changes the text in place, so that the value keeps its life. */
const claim = source(
  ANYWAY,
  TIME,
  `
local head = redis.pcall('GETRANGE', KEYS[1], 0, ${value.generation.at - 1})
if type(head) ~= 'string' or string.sub(head, 1, ${value.claimToken.at}) ~= '${letters.value}' .. ARGV[1] then return 0 end
local own = ${part('head', value.claimToken)} == ARGV[2]
if ARGV[3] == '0' then
  if own then redis.call('SETRANGE', KEYS[1], ${value.claimToken.at}, '${NO_CLAIM}') end
  return own and 1 or 0
end
local now = nowMs()
if not own and (tonumber(${part('head', value.claimUntil)}) or 0) > now then return 0 end
redis.call('SETRANGE', KEYS[1], ${value.claimToken.at}, ARGV[2] .. stamp(now + ARGV[3]))
return 1
`,
)

/** KEYS: generation. ARGV: candidate. Used where the native command is refused, or something else stands under the key. */
const generation = source(
  ANYWAY,
  `
local standing = redis.pcall('GET', KEYS[1])
if type(standing) == 'string' and #standing == #ARGV[1] then return standing end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
`,
)

/** KEYS: generation. ARGV: channel, message, new generation. */
const invalidateKeyspace = source(ANYWAY, PUBLISH, `redis.call('SET', KEYS[1], ARGV[3])\n`)

/** KEYS: any key of the primary. ARGV: channel, message; with an empty message nothing is published. */
const heartbeat = source(
  ANYWAY,
  TIME,
  `
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return nowMs()
`,
)

/** The scripts of one store, not loaded yet: each store keeps the names that its own servers gave them. */
export function loadableScripts(onCluster: boolean, bounds: ReplyBounds) {
  const loadable = (name: string, text: Source): Script => {
    const script = whole(name, text)
    return {
      name,
      source: onCluster ? script.replace(PUBLISH, PUBLISH_BY_NODE) : script,
      sha: undefined,
    }
  }
  return {
    guard: loadable('guard', guard),
    release: loadable('release', release),
    releaseThrough: loadable('releaseThrough', releaseThrough),
    invalidate: loadable('invalidate', invalidate),
    look: loadable('look', look(bounds)),
    create: loadable('create', create(bounds)),
    renewStamp: loadable('renewStamp', renewStamp),
    fill: loadable('fill', fill),
    replace: loadable('replace', replace),
    claim: loadable('claim', claim),
    generation: loadable('generation', generation),
    invalidateKeyspace: loadable('invalidateKeyspace', invalidateKeyspace),
    heartbeat: loadable('heartbeat', heartbeat),
  }
}

/** The scripts of one store. */
export type Scripts = ReturnType<typeof loadableScripts>
