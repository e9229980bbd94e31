import type { Held } from './party.ts'
import type { Play } from './play.ts'

/** One beat of a race: both sides play it, and then it is the user's turn. */
export interface Beat {
  /** What is meant to happen; what did happen is the transcript's to say. */
  readonly title: string
  readonly play: (play: Play) => Promise<void>
}

/** An order in which things happen. It is the same for both sides. */
export interface Race {
  /** In the address of the page. */
  readonly name: string
  readonly title: string
  readonly about: string
  /** Who the writer is. */
  readonly writer: string
  /** Whether our side has a change feed. */
  readonly hasFeed: boolean
  readonly beats: readonly Beat[]
}

const asksDatabase = ({ to, stage }: Held) => to === 'database' && stage === 'request'
const hearsDatabase = ({ to, stage }: Held) => to === 'database' && stage === 'reply'
const asksCache = ({ to, stage }: Held) => to === 'cache' && stage === 'request'

const warm: Beat = {
  title: 'A reader has asked before. The cache holds version 1.',
  play: play => play.read(),
}

const ends: readonly Beat[] = [
  { title: 'What does a reader get now?', play: play => play.ask() },
  {
    title: 'And a minute later?',
    async play(play) {
      await play.wait(60_000, 'a minute passes')
      await play.ask()
    },
  },
  { title: 'How long does that last?', play: play => play.waitUntilRight() },
]

/** The races of the page. */
export const races: readonly Race[] = [
  {
    name: 'stale-set',
    title: 'The stale set',
    about:
      'A slow reader and a writer meet. The reader has loaded the row before the commit, and stores it after the writer has deleted the key.',
    writer: 'Writer',
    hasFeed: false,
    beats: [
      {
        title: 'A reader looks into the cache. Nothing is there.',
        async play(play) {
          play.side.holdBroadcasts()
          play.beginRead()
          await play.goOn('reader', asksDatabase)
        },
      },
      {
        title: 'It asks the database. The answer is slow to arrive.',
        play: play => play.goOn('reader', hearsDatabase),
      },
      {
        title: 'Meanwhile a writer begins.',
        async play(play) {
          play.beginWrite()
          await play.goOn('writer', asksDatabase)
        },
      },
      { title: 'The writer commits version 2.', play: play => play.goOn('writer', asksCache) },
      { title: 'The writer ends what the cache may hold.', play: play => play.finish('writer') },
      {
        title: 'The slow answer arrives. The reader stores what it has.',
        async play(play) {
          await play.finish('reader')
          play.side.releaseBroadcasts()
        },
      },
      ...ends,
    ],
  },
  {
    name: 'writer-killed',
    title: 'The writer is killed',
    about:
      'A writer commits, and its process dies before it can tell the cache: a deploy, a crash, a lost machine.',
    writer: 'Writer',
    hasFeed: false,
    beats: [
      warm,
      {
        title: 'A writer begins.',
        async play(play) {
          play.beginWrite()
          await play.goOn('writer', asksDatabase)
        },
      },
      { title: 'The writer commits version 2.', play: play => play.goOn('writer', hearsDatabase) },
      { title: 'Its process is killed.', play: async play => play.side.writer.kill() },
      ...ends,
    ],
  },
  {
    name: 'changed-by-psql',
    title: 'Changed by psql',
    about:
      'Somebody changes the row past the application: by psql, a migration, another service. The application is not told.',
    writer: 'psql',
    hasFeed: true,
    beats: [
      warm,
      {
        title: 'Somebody changes the row by hand.',
        async play(play) {
          play.beginPsql()
          await play.finish('writer')
        },
      },
      { title: 'What does a reader get at once?', play: play => play.read() },
      { title: 'A quarter of a second passes.', play: play => play.wait(250, '250 ms pass') },
      ...ends,
    ],
  },
]
