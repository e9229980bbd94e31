import { enqueue, forget } from './processes.ts'
import { set } from './record.ts'
import { guard, release } from './register-changes.ts'
import type { Step } from './search.ts'
import { holderOf, sharersOf } from './shared-tokens.ts'
import type { Part, State, Writer } from './state.ts'
import type { World } from './world.ts'

/** What a writer does: `write.ts` of the library, and what becomes of its transaction. */
export function writerSteps(world: World, state: State, step: Step<State>): void {
  for (let i = 0; i < state.writers.length; i++) new WriterSteps(world, state, i, step).all()
}

const CALLS_ITSELF_FENCED = 'a write calls itself fenced, and its guard was gone for a while'
const STORES_LESS_THAN_ITS_OWN = 'own: a process stores a version older than one that it has committed'

/** One writer's next steps. */
class WriterSteps {
  readonly #world: World
  readonly #state: State
  readonly #i: number
  readonly #step: Step<State>
  readonly #process: number

  constructor(world: World, state: State, i: number, step: Step<State>) {
    this.#world = world
    this.#state = state
    this.#i = i
    this.#step = step
    this.#process = world.writerProcesses[i]!
  }

  all(): void {
    const { at } = this.#me
    if (at === 'start') this.#begin()
    else if (at === 'guard') this.#guard()
    else if (at === 'commit') this.#commit()
    else if (at === 'runs') this.#run()
    else if (at === 'logged' || at === 'logged orphan') this.#becomeVisible(at)
    else if (at === 'throws') this.#releaseInDoubt()
    else if (at === 'release') this.#release()
    else if (at === 'orphan') this.#endAsOrphan()
    if (at === 'commit' || at === 'runs' || at === 'release') this.#renew()
    if (this.#world.setting.dying) this.#die(at)
    this.#late()
  }

  get #me(): Writer {
    return this.#state.writers[this.#i]!
  }

  #take(name: () => string, change: (next: State, me: Writer) => void): void {
    this.#step(
      () => `writer ${this.#world.named(this.#i, this.#process)} ${name()}`,
      next => change(next, next.writers[this.#i]!),
    )
  }

  #begin(): void {
    const { setting } = this.#world
    const readsGeneration = setting.writeThrough && setting.generations
    if (!this.#world.has('guard')) this.#commit()
    else if (!readsGeneration || !this.#world.has('generation before the guard')) this.#guard()
    else {
      this.#take(
        () => `reads generation ${this.#state.shared.generation}`,
        (next, me) => {
          set(me, { at: 'guard', generation: next.shared.generation })
        },
      )
    }
  }

  /** Copies in this process are forgotten before the guard is sent. */
  #guard(): void {
    const { guardStuck } = this.#world.setting
    for (const [key, part] of this.#me.parts.entries()) {
      if (part.guard !== 'unsent') continue
      if (key === 1 && !this.#world.has('guard before the commit')) continue
      const send = (name: string, change: (next: State, part: Part) => void) =>
        this.#take(
          () => `${name}${this.#world.of(key)}`,
          (next, me) => {
            forget(this.#world, next, this.#process, key)
            if (this.#world.setting.sharing === true) this.#open(next, me.parts[key]!, key)
            change(next, me.parts[key]!)
            const isLast = me.parts.every(
              ({ guard }, other) =>
                guard !== 'unsent' || (other === 1 && !this.#world.has('guard before the commit')),
            )
            me.at = isLast ? 'commit' : 'guard'
            me.age = 0
          },
        )
      if (this.#world.setting.sharing) this.#join(key)
      const confirm = (next: State, part: Part) => {
        guard(this.#world, next, key, part, false)
        // A guard of a later version keeps it out.
        set(part, { guard: 'confirmed', intact: part.token !== 'none' })
      }
      send('guards', confirm)
      if (!this.#world.has('guard sent once'))
        send('guards, and the command is sent twice', (next, part) => {
          confirm(next, part)
          part.guardCopy = true
        })
      if (!guardStuck) continue
      send('sends a guard that never arrives', (_, part) => set(part, { guard: 'never', gap: true }))
      send('sends a guard that arrives too late', (_, part) => set(part, { guard: 'late', gap: true }))
    }
  }

  /**
   * Begins a token of its own. If another writer of its process has not ended, or its commit is in doubt, both tokens are
   * as good as shared.
   */
  #open(next: State, part: Part, key: number): void {
    set(part, { sharesWith: this.#i + 1, sharing: true })
    if (!this.#world.setting.writeThrough) return
    const { queue } = this.#world.copyOf(next, this.#process, key)
    part.shared = queue === 'later' && this.#world.has('token beside a doubt writes nothing through')
    if (!this.#world.has('token beside another writes nothing through')) return
    for (const [i, { parts }] of next.writers.entries()) {
      const other = parts[key]!
      if (i === this.#i || this.#world.writerProcesses[i] !== this.#process || !other.sharing) continue
      part.shared = true
      holderOf(next, key, other).shared = true
    }
  }

  /**
   * Shares the token of another writer of its process, also one that has not been confirmed: it learns that then. In
   * timed settings only a guard that has not been renewed yet.
   */
  #join(key: number): void {
    for (const [i, writer] of this.#state.writers.entries()) {
      const { sharesWith, guard: sent, doubtful } = writer.parts[key]!
      if (i === this.#i || this.#world.writerProcesses[i] !== this.#process) continue
      if (
        sharesWith !== i + 1 ||
        sent === 'unsent' ||
        doubtful ||
        (this.#world.setting.timed && writer.age > 0)
      )
        continue
      // A process that dies takes all of its writers with it: nobody shares with the dead alone.
      const isOpen = sharersOf(this.#state, i, key).some(
        ({ at, parts }) => at !== 'done' && parts[key]!.sharing,
      )
      if (!isOpen && this.#world.has('shared token closed at its end')) continue
      this.#take(
        () => `shares the guard of writer ${i + 1}${this.#world.of(key)}`,
        (next, me) => {
          forget(this.#world, next, this.#process, key)
          next.writers[i]!.parts[key]!.shared = true
          set(me.parts[key]!, { guard: 'joined', intact: true, sharesWith: i + 1, sharing: true })
          me.at = 'commit'
          me.age = next.writers[i]!.age
        },
      )
    }
  }

  /** What was sent earlier arrives, whatever its writer is at. */
  #late(): void {
    for (const [key, { guard: sent, guardCopy, releaseCopy }] of this.#me.parts.entries()) {
      if (sent === 'late' || guardCopy) {
        this.#take(
          () => `is overtaken by its guard${this.#world.of(key)}, which arrives only now`,
          (next, me) => {
            const part = me.parts[key]!
            if (part.guardCopy) part.guardCopy = false
            else part.guard = 'arrived'
            guard(this.#world, next, key, part, this.#world.setting.sharing === true && sent !== 'late')
          },
        )
      }
      if (releaseCopy) {
        this.#take(
          () => `is overtaken by its release${this.#world.of(key)}, which arrives only now`,
          (next, me) => {
            const part = me.parts[key]!
            part.releaseCopy = false
            release(this.#world, next, key, holderOf(next, key, part), this.#through(next, me, key))
            tidy(me)
          },
        )
      }
    }
  }

  #renew(): void {
    const { timed, renewalStuck } = this.#world.setting
    for (const [key, own] of this.#me.parts.entries()) {
      const { guard: sent, released } = own
      if (released || sent === 'unsent') continue
      const { token } = holderOf(this.#state, key, own)
      if (timed ? this.#me.age < 1 || !this.#world.has('renewal') : token === 'live' || this.#me.renewed)
        continue
      const renew = (name: string, isHeard: boolean) =>
        this.#take(
          () =>
            `renews its guard${this.#world.of(key)}, which ${token === 'none' ? 'is gone' : 'stands'}${name}`,
          (next, me) => {
            const found = this.#renewed(next, me, key)
            if (isHeard ? !found : this.#world.has('unknown renewals count as lost'))
              this.#lost(next, me.parts[key]!, key)
            if (!timed) me.renewed = true
          },
        )
      renew('', true)
      if (renewalStuck) renew(', and does not hear of it', false)
    }
  }

  /** Sends a guard once more, for everybody who shares it, and says whether the token was there. */
  #renewed(next: State, me: Writer, key: number): boolean {
    const part = me.parts[key]!
    const holder = holderOf(next, key, part)
    const found = holder.token === 'live' || holder.token === 'passed'
    guard(this.#world, next, key, holder, true)
    me.age = 0
    if (part.sharesWith > 0) {
      next.writers[part.sharesWith - 1]!.age = 0
      for (const sharer of sharersOf(next, part.sharesWith - 1, key)) sharer.age = 0
    }
    return found
  }

  /** The guard was found missing, or may have been. */
  #lost(next: State, part: Part, key: number): void {
    part.intact = false
    holderOf(next, key, part).intact = false
  }

  #isIntact(state: State, part: Part, key: number): boolean {
    return this.#world.has('shared token known to be lost') ? holderOf(state, key, part).intact : part.intact
  }

  #commit(): void {
    const { decoded, orphans, doubts, timed } = this.#world.setting
    if (timed) {
      this.#take(
        () => 'begins its statement',
        (_, me) => {
          me.at = 'runs'
        },
      )
      return
    }
    if (decoded) {
      this.#take(
        () => `writes v${this.#state.keys[0]!.logged + 1} to the log, where nobody sees it yet`,
        (next, me) => {
          for (const [key, part] of me.parts.entries()) this.#log(next, key, part)
          me.at = 'logged'
        },
      )
    } else this.#commitNow('release')
    if (orphans) this.#leave('dies, and its statement still runs', false)
    if (doubts) this.#leave('loses its connection, and its statement still runs', true)
  }

  #run(): void {
    this.#commitNow('release')
    if (this.#world.setting.orphans) this.#leave('dies, and its statement still runs', false)
    if (this.#world.setting.doubts) this.#leave('loses its connection, and its statement still runs', true)
  }

  #commitNow(then: 'release' | 'done'): void {
    this.#take(
      () => `commits v${this.#state.keys[0]!.logged + 1}`,
      (next, me) => {
        for (const [key, part] of me.parts.entries()) {
          this.#log(next, key, part)
          next.keys[key]!.visible = next.keys[key]!.logged
        }
        me.at = then
        me.running = 0
        if (then === 'done') tidy(me)
      },
    )
  }

  #log(next: State, key: number, part: Part): void {
    const register = next.keys[key]!
    part.version = ++register.logged
    part.overtaken = false
    if (this.#world.setting.feed) part.change = 'waits'
    const isMeant =
      !this.#world.has('guard') ||
      !this.#world.has('guard before the commit') ||
      !this.#world.has('shared token closed at its end') ||
      !this.#world.has('shared token ends with the last') ||
      !this.#world.has('shared token left to a doubt') ||
      !this.#world.has('too many holders merge')
    if (holderOf(next, key, part).token === 'none' && !isMeant) next.shared.extraordinary = true
  }

  #becomeVisible(at: 'logged' | 'logged orphan'): void {
    this.#take(
      () => `commits for everybody to see: v${this.#me.parts[0]!.version}`,
      (next, me) => {
        for (const [key, { version, token }] of me.parts.entries()) {
          const register = next.keys[key]!
          register.visible = Math.max(register.visible, version)
          if (token === 'none') next.shared.extraordinary = true
        }
        me.at = at === 'logged' ? 'release' : 'done'
        if (me.at === 'done') tidy(me)
      },
    )
  }

  /** The process dies, or its function throws with the commit in doubt: then the queue does the rest. */
  #leave(name: string, inDoubt: boolean): void {
    this.#take(
      () => name,
      (next, me) => {
        me.at = 'orphan'
        if (!inDoubt) return
        if (!this.#world.has('doubt')) {
          me.at = 'throws'
          return
        }
        if (!this.#world.has('doubt invalidates')) return
        me.inDoubt = true
        for (const [key, part] of me.parts.entries()) {
          part.queued = true
          part.sharing = false
          holderOf(next, key, part).doubtful = part.sharesWith > 0
          enqueue(this.#world, next, this.#process, key, 'later')
          forget(this.#world, next, this.#process, key)
        }
      },
    )
  }

  #releaseInDoubt(): void {
    this.#take(
      () => 'releases, because its function threw',
      (next, me) => {
        for (const [key, part] of me.parts.entries()) release(this.#world, next, key, part)
        me.at = 'orphan'
      },
    )
  }

  /** Its statement ends without it. */
  #endAsOrphan(): void {
    this.#commitNow('done')
    this.#take(
      () => 'has its statement ended by the database',
      (_, me) => {
        me.at = 'done'
        tidy(me)
      },
    )
  }

  #through(next: State, me: Writer, key: number): { version: number; generation: number } | undefined {
    if (!this.#world.setting.writeThrough) return undefined
    const part = me.parts[key]!
    if (holderOf(next, key, part).shared && this.#world.has('shared token writes nothing through'))
      return undefined
    if (!this.#isIntact(next, part, key) && this.#world.has('confirmed guards only write through'))
      return undefined
    const generation = this.#world.has('generation before the guard') ? me.generation : next.shared.generation
    return { version: part.version, generation }
  }

  #release(): void {
    for (const [key, part] of this.#me.parts.entries()) {
      if (part.released) continue
      if (part.guard === 'unsent' && this.#world.has('guard')) {
        // Only where this protection is out: the key is guarded now that it has been committed.
        this.#take(
          () => `guards${this.#world.of(key)}`,
          (next, me) => {
            guard(this.#world, next, key, me.parts[key]!, false)
            me.parts[key]!.guard = 'confirmed'
          },
        )
        continue
      }
      if (this.#staysShared(part, key)) {
        this.#endShared(key)
        continue
      }
      this.#take(
        () => `releases${this.#world.of(key)}`,
        (next, me) => {
          const part = me.parts[key]!
          const holder = holderOf(next, key, part)
          const isIntact = this.#isIntact(next, part, key)
          const { gap } = holder
          const held = release(this.#world, next, key, holder, this.#through(next, me, key))
          if (held && isIntact && gap) next.broken = CALLS_ITSELF_FENCED
          this.#judgeStored(next, key)
          this.#resolve(next, me, key)
        },
      )
      if (!this.#world.setting.releaseStuck) continue
      this.#take(
        () => `sends a release${this.#world.of(key)} that is not confirmed`,
        (next, me) => {
          const part = me.parts[key]!
          part.releaseCopy = true
          if (this.#world.has('release queued')) {
            part.queued = true
            part.releaseQueued = part.sharesWith > 0
            enqueue(this.#world, next, this.#process, key, 'waits')
          }
          this.#resolve(next, me, key)
        },
      )
    }
  }

  /** A process has stored what is older than what it has committed itself: another writer, who has not ended yet. */
  #judgeStored(next: State, key: number): void {
    const { register, version } = next.keys[key]!
    if (register !== 'value' || !this.#world.setting.sharing) return
    const isOutdone = next.writers.some(
      ({ at, parts }, i) =>
        i !== this.#i &&
        this.#world.writerProcesses[i] === this.#process &&
        parts[key]!.version > version &&
        (at === 'release' ? !parts[key]!.released : parts[key]!.queued),
    )
    if (isOutdone) next.broken = STORES_LESS_THAN_ITS_OWN
  }

  /** Whether its token stays when its own part in it ends: for others, or for a commit in doubt. */
  #staysShared(part: Part, key: number): boolean {
    if (part.sharesWith === 0) return false
    const others = sharersOf(this.#state, part.sharesWith - 1, key).filter(writer => writer !== this.#me)
    if (holderOf(this.#state, key, part).doubtful && this.#world.has('shared token left to a doubt'))
      return true
    return (
      others.some(({ parts }) => parts[key]!.sharing) && this.#world.has('shared token ends with the last')
    )
  }

  /** Its own part in a token ends: it asks whether the token is still there, which renews it for the others. */
  #endShared(key: number): void {
    const end = (name: string, ask: (next: State, me: Writer) => boolean) =>
      this.#take(
        () => `${name}${this.#world.of(key)}`,
        (next, me) => {
          const held = ask(next, me)
          const part = me.parts[key]!
          if (!held && !part.queued) this.#lost(next, part, key)
          if (held && this.#isIntact(next, part, key) && holderOf(next, key, part).gap)
            next.broken = CALLS_ITSELF_FENCED
          this.#resolve(next, me, key)
        },
      )
    if (!this.#world.has('shared token asked for at each end')) {
      end('ends', () => true)
      return
    }
    end('asks for the guard that it shares', (next, me) => this.#renewed(next, me, key))
    if (!this.#world.setting.releaseStuck) return
    end('asks for the guard that it shares, which is not confirmed', (next, me) => {
      const part = me.parts[key]!
      set(part, { queued: true })
      holderOf(next, key, part).guardCopy = true
      this.#lost(next, part, key)
      enqueue(this.#world, next, this.#process, key, 'waits')
      return false
    })
  }

  /** With the last key the write resolves. */
  #resolve(next: State, me: Writer, released: number): void {
    forget(this.#world, next, this.#process, released)
    set(me.parts[released]!, { released: true, sharing: false })
    if (!me.parts.every(({ released }) => released)) return
    for (const [key, { version, queued }] of me.parts.entries()) {
      const register = next.keys[key]!
      if (!queued && this.#world.has('release queued'))
        register.resolved = Math.max(register.resolved, version)
      const copy = this.#world.copyOf(next, this.#process, key)
      if (this.#hasOwn()) copy.own = Math.max(copy.own, version)
    }
    me.at = 'done'
    tidy(me)
  }

  /** What a process must not find any more after its own writes is of interest where it has a life of its own. */
  #hasOwn(): boolean {
    return this.#world.setting.local === true || this.#world.setting.releaseStuck === true
  }

  #die(at: Writer['at']): void {
    if (at !== 'guard' && at !== 'commit' && at !== 'release' && at !== 'logged') return
    this.#take(
      () => 'dies',
      (next, me) => {
        me.at = at === 'logged' ? 'logged orphan' : 'done'
        if (!this.#world.has('guard')) next.shared.extraordinary = true
        tidy(me)
      },
    )
  }
}

/** Forgets of a writer that has ended whatever can make no difference any more. */
function tidy(me: Writer): void {
  if (me.at !== 'done' || me.parts.some(({ sharesWith }) => sharesWith > 0)) return
  set(me, { generation: me.parts.some(({ releaseCopy }) => releaseCopy) ? me.generation : 0, renewed: false })
  for (const part of me.parts) {
    set(part, { released: false, overtaken: part.releaseCopy && part.overtaken })
    if (part.releaseCopy || part.queued) continue
    set(part, { intact: false, gap: false, version: part.change === 'none' ? 0 : part.version })
  }
}
