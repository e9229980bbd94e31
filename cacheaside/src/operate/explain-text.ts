import type { Why } from '../base/events.ts'
import { lineOf } from '../base/masked.ts'
import { printable } from '../base/printable.ts'
import type { Outcome } from '../verify/outcome.ts'
import { durationText } from '../verify/report.ts'
import type { ExplainedRegister, ExplainedValue, Explanation } from './explain.ts'
import type { ReaderAnswer } from './reader.ts'

/** The reasons for a reader's answer; each completes a sentence after a colon. */
const WHY: Readonly<Record<Why, string>> = {
  fresh: 'it is fresh',
  stale: 'it is past its soft expiry, within staleMs; one reader refreshes it',
  'stale-error': 'it is past its soft expiry, and staleIfErrorMs allows it while the origin is in trouble',
  missing: 'nothing is there; the first reader takes the lease',
  expired: 'the value is past its soft expiry; the first reader claims it',
  generation: 'the keyspace was invalidated since the value was stored',
  tag: 'a tag of the value was invalidated since it was stored',
  names: 'the value lacks a tag that the keyspace names',
  shape: 'the value has another shape than the keyspace',
  version: 'another version of the library has written it',
  unreadable: 'what is stored cannot be read, or is of another row',
  busy: 'another reader loads, and was waited for in vain',
  guarded: 'a writer is at work',
  queued: 'an invalidation is not applied yet',
  'in-doubt': 'a commit is in doubt',
  full: 'the store has no room for a lease',
  'too-large': 'what is stored is larger than the store hands out',
  snapshot: 'a snapshot has read it together with others',
  unavailable: 'the store does not answer',
}

const LABEL_WIDTH = 12

/** An explanation as people read it. */
export function explanationText(explanation: Explanation): string {
  const { store, key, register, readers, notes } = explanation
  return [
    `${printable(key)} in ${store}`,
    ...labelled('register', registerLines(explanation)),
    ...labelled('generation', [generationLine(explanation)]),
    ...labelled('a reader', [answerText(readers.plain, register)]),
    ...labelled('a strong one', [answerText(readers.strong, register)]),
    ...labelled('origin down', [
      readers.originDown === undefined
        ? 'gets the error of the loader'
        : answerText(readers.originDown, register),
    ]),
    ...labelled('the feed', feedLines(explanation)),
    ...(explanation.origin === undefined ? [] : labelled('the origin', [originLine(explanation.origin)])),
    ...notes.map(note => `note: ${printable(note)}`),
  ].join('\n')
}

const labelled = (label: string, lines: readonly string[]): string[] =>
  lines.map((line, i) => `  ${(i === 0 ? label : '').padEnd(LABEL_WIDTH)}  ${line}`)

function registerLines({ register, lifeMs }: Explanation): string[] {
  const life = lifeMs === undefined ? [] : [`the store removes it in ${durationText(lifeMs)} by itself`]
  switch (register.state) {
    case 'absent':
      return ['absent: never stored, invalidated, expired or evicted; the store does not record which']
    case 'value':
      return [...valueLines(register), ...life]
    case 'lease':
      return [
        `a lease: a reader loads it, with the token ${printable(register.token)}${markText(register.mark)}`,
        ...life,
      ]
    case 'stamp':
      return [`a stamp: it is the name of a tag, with the token ${printable(register.token)}`, ...life]
    case 'guard':
      return [...guardLines(register), ...life]
    case 'later':
      return [`a ${register.of} of a later version of the library`, ...life]
    case 'unreadable':
      return ['no register: something else was stored under this key', ...life]
  }
}

function valueLines(value: ExplainedValue): string[] {
  const what = value.absent ? 'the absence of the row' : `a value of ${value.characters} characters`
  const fresh =
    value.freshMs > 0
      ? `fresh for another ${durationText(value.freshMs)}`
      : `past its soft expiry for ${durationText(-value.freshMs)}`
  const shape =
    value.shape === value.keyspaceShape
      ? `shape ${value.shape}`
      : `shape ${value.shape}, and the keyspace has ${value.keyspaceShape}`
  // After a failover to a server whose clock is behind, for example.
  const stored =
    value.ageMs < 0
      ? `stored ${durationText(-value.ageMs)} ahead of the store's clock, which was set back or is another server's`
      : `stored ${durationText(value.ageMs)} ago`
  return [
    `${what}, ${stored} (${value.filledAt})${markText(value.mark)}`,
    `${fresh}; its load took ${durationText(value.costMs)}; ${shape}`,
    ...(value.claimLeftMs === undefined
      ? []
      : [`a reader refreshes it, and its claim stands for another ${durationText(value.claimLeftMs)}`]),
    ...value.tags.map(({ name, now }) => `tag ${printable(name)}: ${TAGS[now]}`),
    ...(value.text === undefined ? [] : [`text: ${printable(value.text)}`]),
  ]
}

const TAGS = {
  stands: 'stands as it did',
  invalidated: 'was invalidated since, and so was this value',
  gone: 'is gone, and so is this value for every reader',
  guarded: 'a writer is at work on it',
  strange: 'cannot be read',
} as const

const MARKS = {
  own: '',
  foreign: '; by its mark it belongs to another key',
  none: '; an earlier version has written it, without the mark of its key',
  later: '; a later version has written it',
} as const

const markText = (mark: keyof typeof MARKS): string => MARKS[mark]

function guardLines(guard: ExplainedRegister & { state: 'guard' }): string[] {
  const { dirty, writers, othersLeftMs } = guard
  const many = othersLeftMs === undefined ? '' : ' and more'
  const state = dirty ? 'dirty: no committed value is stored at its end' : 'clean'
  return [
    `a guard, ${state}; ${writers.length}${many} ${writers.length === 1 ? 'writer' : 'writers'}`,
    ...writers.map(({ token, leftMs }) => `writer ${printable(token)}: ${leftText(leftMs)}`),
    ...(othersLeftMs === undefined ? [] : [`writers that are not listed: ${leftText(othersLeftMs)}`]),
  ]
}

const leftText = (leftMs: number): string =>
  leftMs > 0 ? `${durationText(leftMs)} left` : `its deadline passed ${durationText(-leftMs)} ago`

function generationLine({ generation, register }: Explanation): string {
  if (generation === undefined) return 'none: the keyspace was never read, or the store has lost it'
  if (register.state !== 'value') return printable(generation)
  if (register.generation === generation) return `${printable(generation)}, also the value's`
  return `${printable(generation)}, and the value has ${printable(register.generation)}`
}

function answerText({ from, why, kept, absent }: ReaderAnswer, { state }: ExplainedRegister): string {
  if (from !== 'origin') return `gets ${absent ? 'the absence of the row' : 'it'} from the store: ${WHY[why]}`
  if (why === 'busy' && state === 'lease')
    return 'waits for the reader that loads, up to busyWaitMs; then loads it, and keeps nothing'
  return `loads it from the origin${kept ? '' : ', and keeps nothing'}: ${WHY[why]}`
}

function feedLines({ feed, register }: Explanation): string[] {
  if (feed === undefined) return ['none is known']
  if (feed.problem !== undefined) return [`its outbox cannot be read: ${lineOf(feed.problem)}`]
  const lines = feed.waiting.map(
    ({ id, table, ageMs }) =>
      `change ${printable(id)} of ${printable(table)} has waited in the outbox for ${durationText(ageMs)}`,
  )
  if (feed.count > feed.waiting.length) lines.push(`and ${feed.count - feed.waiting.length} more`)
  if (lines.length > 0) return lines
  const since = register.state === 'value' ? `; none was applied since this value was stored` : ''
  return [`no change of this key waits. Applied changes are not recorded${since}`]
}

function originLine(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'equal':
      return 'holds the same'
    case 'stale':
      return `holds something else: the value has been stale for ${durationText(outcome.staleMs)} at least`
    case 'unreadable':
      return `not compared: ${printable(outcome.message)}`
    case 'orphaned':
      return `not compared: no reader finds this value (${outcome.reason})`
    case 'skipped':
      return `not compared: ${SKIPPED[outcome.why]}`
  }
}

const SKIPPED = {
  gone: 'nothing is stored',
  leased: 'a reader loads it',
  stamp: 'it is the name of a tag',
  guarded: 'a writer is at work',
  version: 'a later version has written it',
  changed: 'it changed meanwhile',
  failed: 'the row could not be read',
} as const
