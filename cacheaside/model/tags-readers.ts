import { set } from './record.ts'
import type { Step } from './search.ts'
import { answer, floorOf, isFound, isQueued } from './tags-promises.ts'
import { clear, keyOf, lookAtStamp, processOf, putValue } from './tags-registers.ts'
import type { Look, Reader, TagsState } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/**
 * What a reader of a key with tags does. Its first commands run in any order: the one for the key, one for each name
 * that it knows, and one for the generation if the store is to be asked for it. A read begins with the first of them.
 */
export function tagReaderSteps(world: TagsWorld, state: TagsState, step: Step<TagsState>): void {
  for (let i = 0; i < state.readers.length; i++) new ReaderSteps(world, state, i, step).all()
}

/** One reader's next steps. */
class ReaderSteps {
  readonly #world: TagsWorld
  readonly #state: TagsState
  readonly #i: number
  readonly #step: Step<TagsState>
  readonly #key: number
  readonly #process: number
  readonly #strong: boolean
  #outcome = ''

  constructor(world: TagsWorld, state: TagsState, i: number, step: Step<TagsState>) {
    this.#world = world
    this.#state = state
    this.#i = i
    this.#step = step
    this.#key = keyOf(world, i)
    this.#process = processOf(world, i)
    this.#strong = world.readers[i]!.reads === 'strong'
  }

  all(): void {
    const { own } = this.#state.readers[this.#i]!
    if (own.at === 'idle') {
      if (own.left > 0) this.#begin()
    } else if (own.at === 'ask') this.#ask(() => {})
    else if (own.at === 'heard') this.#take('hears the replies', (next, me) => this.#judge(next, me))
    else if (own.at === 'look') this.#look()
    else if (own.at === 'swap') this.#swap()
    else if (own.at === 'claim') this.#claim()
    else if (own.at === 'load') this.#load()
    else if (own.at === 'loaded')
      this.#take('hears what it has loaded', (next, me) => this.#isLoaded(next, me))
    else if (own.at === 'late') this.#askLate()
    else if (own.at === 'late heard') this.#take('hears the replies', (next, me) => this.#judgeLate(next, me))
    else if (own.at === 'fill') this.#fill()
    else this.#keep()
    if (own.at !== 'idle' && this.#world.readers[this.#i]!.joined) this.#join()
  }

  #take(name: string, change: (next: TagsState, me: Reader) => void): void {
    const { key } = this.#world.readers[this.#i]!
    this.#outcome = ''
    this.#step(
      () => `reader ${this.#i + 1}${key === undefined ? '' : ' of y'} ${name}${this.#outcome}`,
      next => change(next, next.readers[this.#i]!),
    )
  }

  /** Names and what is to be asked are settled, then the first command runs. */
  #begin(): void {
    const known = this.#world
      .asked(this.#process, this.#key)
      .map((isAsked, tag) => isAsked || this.#remembered(this.#state, tag))
    if (isQueued(this.#world, this.#state, this.#process, this.#key, known)) {
      this.#take('begins: something is queued', (next, me) => {
        me.own.left--
        me.floor = this.#floor(next)
        this.#bypass(next, me)
      })
      return
    }
    this.#ask((next, me) => {
      const { stream, copy } = next.processes[this.#process]!.own
      const strong = this.#isStrongNow()
      me.floor = this.#floor(next)
      const isUnlisted = stream === 'unproven' && this.#world.has('unproven flights keep nothing of tags')
      set(me.own, { at: 'ask', left: me.own.left - 1, strong, doomed: isUnlisted, generation: copy })
      if (strong && this.#world.setting.generations !== undefined)
        set(me.own, { asksGeneration: true, generation: 0 })
      for (const [tag, look] of me.names.entries()) if (known[tag]) this.#want(next, me, look)
    })
  }

  #remembered(state: TagsState, tag: number): boolean {
    return state.processes[this.#process]!.entries[this.#key]!.names[tag]!.remembered
  }

  #floor(state: TagsState): number[] {
    const isUnproven = state.processes[this.#process]!.own.stream === 'unproven'
    return floorOf(this.#world, state, this.#process, this.#strong || isUnproven)
  }

  /** A name is listed, and its stamp is to be asked for. */
  #want(next: TagsState, me: Reader, look: Look): void {
    const { copy } = next.processes[this.#process]!.own
    const isCopied = this.#world.has('generation copies once listed') && !me.own.strong
    set(look, { look: 'wanted', later: false, generation: isCopied ? copy : me.own.generation })
    if (this.#world.has('listed before asking')) look.listed = true
  }

  /** One of the commands that have not run yet. `before` is what goes before the first one. */
  #ask(before: (next: TagsState, me: Reader) => void): void {
    const { own, names } = this.#state.readers[this.#i]!
    const isFirst = own.at === 'idle'
    const known = this.#world.asked(this.#process, this.#key)
    const asksGeneration = isFirst
      ? this.#world.setting.generations !== undefined && this.#isStrongNow()
      : own.asksGeneration
    if (own.looked === 'nothing') {
      this.#take('looks at the key', (next, me) => {
        before(next, me)
        this.#lookAtKey(next, me)
      })
    }
    names.forEach(({ look }, tag) => {
      const isKnown = known[tag] || this.#remembered(this.#state, tag)
      if (isFirst ? isKnown : look === 'wanted') this.#askStamp(tag, before)
    })
    if (!asksGeneration) return
    this.#take(`reads generation ${this.#state.shared.generation}`, (next, me) => {
      before(next, me)
      this.#readGeneration(next, me)
      this.#proceed(next, me)
    })
  }

  #isStrongNow(): boolean {
    if (this.#strong || !this.#world.has('generation copies while proven')) return this.#strong
    return this.#state.processes[this.#process]!.own.stream === 'unproven'
  }

  #readGeneration(next: TagsState, me: Reader): void {
    const { generation } = next.shared
    set(me.own, { generation, asksGeneration: false, generationLater: me.own.looked === 'value' })
    for (const look of me.names) if (look.look !== 'none') look.generation = generation
  }

  #askStamp(tag: number, before: (next: TagsState, me: Reader) => void): void {
    const letter = this.#world.letter(this.#world.keys + tag)
    this.#take(`asks for the stamp of ${letter}`, (next, me) => {
      before(next, me)
      this.#lookAt(next, me, tag)
      this.#proceed(next, me)
    })
    const { saved, savedToken } = this.#state.registers[this.#world.keys + tag]!
    if (!this.#world.setting.demoted || saved !== 'stamp' || tag > 0) return
    if (this.#world.has('looks that need the right to write')) return
    this.#take(`asks the demoted server for the stamp of ${letter}`, (next, me) => {
      before(next, me)
      set(me.names[tag]!, { look: 'stamp', token: savedToken, later: me.own.looked === 'value' })
      this.#proceed(next, me)
    })
  }

  #lookAt(next: TagsState, me: Reader, tag: number): void {
    const look = me.names[tag]!
    const token = lookAtStamp(this.#world, next, tag)
    set(look, {
      look: token === undefined ? 'guard' : 'stamp',
      token: token ?? 0,
      later: me.own.looked === 'value',
    })
    if (token !== undefined && this.#world.setting.remembers)
      next.processes[this.#process]!.places[this.#world.keys + tag]!.memory = token
    this.#outcome = token === undefined ? ': a guard' : `: ${token}`
  }

  #lookAtKey(next: TagsState, me: Reader): void {
    const register = next.registers[this.#key]!
    this.#outcome = `: ${register.holds}`
    if (register.holds === 'guard' || register.holds === 'lease') this.#bypass(next, me)
    else if (register.holds === 'absent') {
      register.holds = 'lease'
      set(me.own, { looked: 'lease', lease: true })
      this.#proceed(next, me)
    } else this.#seeValue(next, me)
  }

  #seeValue(next: TagsState, me: Reader): void {
    const value = next.values[this.#key]!
    set(me.own, { looked: 'value', sees: true, seenGeneration: value.own[0]! })
    me.content = value.content.slice()
    for (const [tag, { named, token, generation }] of value.names.entries())
      set(me.names[tag]!, { named, seenToken: token, seenGeneration: generation })
    this.#proceed(next, me)
  }

  /** Once all replies are here. */
  #proceed(next: TagsState, me: Reader): void {
    const { own, names } = me
    if (own.looked === 'nothing' || own.asksGeneration || names.some(({ look }) => look === 'wanted')) return
    if (this.#world.setting.replies) own.at = 'heard'
    else this.#judge(next, me)
  }

  #judge(next: TagsState, me: Reader): void {
    const { own, names } = me
    for (const look of names) if (look.look !== 'none') look.listed = true
    const named = names.map(look => look.named)
    const isNew = names.some(look => look.named && look.look === 'none')
    const isAsked = !isNew || this.#world.has('queue asks before the stamps')
    if (isAsked && isQueued(this.#world, next, this.#process, this.#key, named)) this.#bypass(next, me)
    else if (isNew) this.#askMore(next, me)
    else if (own.looked === 'lease' || own.claim) {
      if (names.some(({ look }) => look === 'guard')) this.#bypass(next, me)
      else own.at = 'load'
    } else if (names.some(look => look.named && look.look === 'guard')) this.#bypass(next, me)
    else if (this.#world.setting.generations === 'own' && own.seenGeneration !== own.generation)
      this.#judgeGeneration(next, me)
    else this.#judgeStamps(next, me)
  }

  /** A value of another generation falls only by a look that ran after somebody had seen that generation. */
  #judgeGeneration(next: TagsState, me: Reader): void {
    const { own } = me
    const process = next.processes[this.#process]!.own
    const { sharedLooks = false } = this.#world.setting
    const hasFallen = sharedLooks && (process.fallen & (1 << own.seenGeneration)) > 0
    if (own.generationLater || hasFallen || !this.#world.has('judged by later looks')) own.at = 'swap'
    else if (!sharedLooks) set(own, { at: 'ask', asksGeneration: true })
    else if (process.look === 'none') {
      process.look = 'sent'
      set(own, { at: 'look', waits: 'asked' })
    } else {
      const isAsked = this.#waiting(next).some(
        other => other.own.waits === 'asked' && other.own.seenGeneration === own.seenGeneration,
      )
      set(own, { at: 'look', waits: isAsked ? 'joined' : 'next' })
    }
  }

  /** The readers of this process that wait for a shared look. */
  #waiting(state: TagsState): Reader[] {
    return state.readers.filter(
      ({ own }, i) => own.at === 'look' && processOf(this.#world, i) === this.#process,
    )
  }

  /** The shared look: the first of those who have asked for it takes its steps. */
  #look(): void {
    const { look } = this.#state.processes[this.#process]!.own
    const first = this.#waiting(this.#state).find(({ own }) => own.waits === 'asked')
    if (first !== this.#state.readers[this.#i]) return
    if (look === 'answered') this.#take('hears the generation', next => this.#hearLook(next))
    else
      this.#take(`looks at generation ${this.#state.shared.generation}`, next => {
        set(next.processes[this.#process]!.own, {
          look: 'answered',
          lookGeneration: next.shared.generation,
        })
      })
  }

  #hearLook(next: TagsState): void {
    const process = next.processes[this.#process]!.own
    const { lookGeneration: generation } = process
    set(process, { look: 'none', lookGeneration: 0 })
    for (const { own } of this.#waiting(next))
      if (own.waits === 'asked' && own.seenGeneration !== generation)
        process.fallen |= 1 << own.seenGeneration
    for (const reader of this.#waiting(next)) {
      if (reader.own.waits === 'next') continue
      const steps = new ReaderSteps(this.#world, next, next.readers.indexOf(reader), this.#step)
      steps.#hearGeneration(next, reader, generation)
    }
    const left = this.#waiting(next)
    if (left.length === 0) return
    process.look = 'sent'
    for (const { own } of left) own.waits = 'asked'
  }

  /** Who has joined a look does not know whether it ran after the value was seen, or before an invalidation that was told. */
  #hearGeneration(next: TagsState, me: Reader, generation: number): void {
    const { own } = me
    const isBehind =
      own.waits === 'joined' && this.#world.has('shared looks let stand only what was seen before')
    if (isBehind && generation === own.seenGeneration) own.waits = 'next'
    else {
      set(own, { waits: 'none', generation, generationLater: true })
      this.#judge(next, me)
    }
  }

  /** The names in the value that were not asked for cost one more round trip. */
  #askMore(next: TagsState, me: Reader): void {
    for (const look of me.names) if (look.named && look.look === 'none') this.#want(next, me, look)
    me.own.at = 'ask'
  }

  #judgeStamps(next: TagsState, me: Reader): void {
    const { own, names } = me
    const hasGenerations = this.#world.setting.generations === 'tags'
    let hasFallen = false
    for (const [tag, look] of names.entries()) {
      if (!look.named || (tag > 0 && !this.#world.has('every tag judged'))) continue
      const isOther = look.token !== look.seenToken
      const isOlder = hasGenerations && look.generation !== look.seenGeneration
      hasFallen ||= isOther || isOlder
      if (!this.#world.has('judged by later looks')) continue
      if (isOther && !look.later) look.look = 'wanted'
      if (isOlder && !own.generationLater) own.asksGeneration = true
    }
    const isAskingAgain = own.asksGeneration || names.some(({ look }) => look === 'wanted')
    this.#outcome += hasFallen ? ', which the value does not have' : ''
    if (isAskingAgain) own.at = 'ask'
    else if (hasFallen) this.#fell(next, me)
    else this.#stands(next, me)
  }

  #fell(next: TagsState, me: Reader): void {
    if (!this.#world.has('fallen values are no fallback')) {
      answer(this.#world, next, me.content, me.floor)
      this.#end(me)
    } else if (me.names.some(({ look }) => look === 'guard')) this.#bypass(next, me)
    else me.own.at = 'swap'
  }

  /** All stamps stand. A value that lacks a name is replaced once by a process. */
  #stands(next: TagsState, me: Reader): void {
    const asked = this.#world.asked(this.#process, this.#key)
    const lacks = me.names.some(({ named }, tag) => asked[tag] && !named)
    const entry = next.processes[this.#process]!.entries[this.#key]!
    if (lacks && this.#world.has('values lacking names are replaced')) {
      const isDone = entry.own.replaced && this.#world.has('replaced once')
      if (isDone || me.names.some(({ look }) => look === 'guard')) this.#bypass(next, me)
      else {
        entry.own.replaced = true
        me.own.at = 'swap'
      }
      return
    }
    this.#remember(
      next,
      me.names.map(({ named }) => named),
    )
    this.#outcome += ', found'
    answer(this.#world, next, me.content, me.floor)
    this.#answerJoined(next, me)
    me.own.answered = true
    if (next.values[this.#key]!.own[1] === 1 && me.own.sees) me.own.at = 'claim'
    else if (this.#world.setting.local) me.own.at = 'keep'
    else this.#end(me)
  }

  #remember(next: TagsState, named: readonly boolean[]): void {
    if (!this.#world.setting.remembers) return
    const { names } = next.processes[this.#process]!.entries[this.#key]!
    names.forEach((name, tag) => {
      name.remembered = named[tag]!
    })
  }

  #swap(): void {
    const { sees } = this.#state.readers[this.#i]!.own
    if (sees) {
      this.#take('puts its lease in the place of what it saw', (next, me) => {
        this.#checkWaste(next, me)
        clear(this.#world, next, this.#key)
        next.registers[this.#key]!.holds = 'lease'
        set(me.own, { at: 'load', lease: true, looked: 'lease' })
      })
    } else {
      this.#take('sees that it has gone, and asks again', (_, me) => {
        set(me.own, { at: 'ask', looked: 'nothing', generationLater: false, seenGeneration: 0 })
        me.content.fill(0)
        for (const look of me.names)
          set(look, { later: false, named: false, seenToken: 0, seenGeneration: 0 })
      })
    }
  }

  /** A value that a strong read would find is removed only for want of a name. */
  #checkWaste(next: TagsState, me: Reader): void {
    const asked = this.#world.asked(this.#process, this.#key)
    const lacks = me.names.some(({ named }, tag) => asked[tag] && !named)
    if (lacks || next.shared.forgot || !isFound(this.#world, next, this.#key)) return
    next.broken = 'wasted: a value that stands is removed'
  }

  /** A refresh reads the stamps before its load once more. */
  #claim(): void {
    const { sees } = this.#state.readers[this.#i]!.own
    this.#take(sees ? 'claims the refresh' : 'is refused the claim', (next, me) => {
      const isClaimed = next.readers.some(({ own }, i) => keyOf(this.#world, i) === this.#key && own.claim)
      if (!me.own.sees || isClaimed) this.#end(me)
      else {
        set(me.own, { at: 'ask', claim: true })
        const asked = this.#world.asked(this.#process, this.#key)
        for (const [tag, look] of me.names.entries()) if (look.named || asked[tag]) look.look = 'wanted'
      }
    })
  }

  /** Loads, and keeps nothing. What it got in the store is given back. */
  #bypass(next: TagsState, me: Reader): void {
    this.#outcome += ', bypasses the cache'
    if (!me.own.answered) this.#answerLoaded(next, me, this.#world.load(next, this.#key))
    this.#giveBack(next, me)
  }

  #answerLoaded(next: TagsState, me: Reader, content: readonly number[]): void {
    answer(this.#world, next, content, me.floor)
    this.#answerJoined(next, me, content)
  }

  #giveBack(next: TagsState, me: Reader): void {
    if (this.#world.has('leases given back beside tags')) {
      if (me.own.lease) clear(this.#world, next, this.#key)
      me.own.claim = false
    }
    this.#end(me)
  }

  #load(): void {
    this.#take('loads', (next, me) => {
      if (this.#world.has('late names remembered before the load')) this.#recall(next, me)
      for (const look of me.names) look.early = look.look === 'stamp'
      me.content = this.#world.load(next, this.#key)
      if (this.#world.setting.mostLoads !== undefined) next.shared.loads++
      if (this.#world.setting.replies) me.own.at = 'loaded'
      else this.#isLoaded(next, me)
    })
  }

  #isLoaded(next: TagsState, me: Reader): void {
    const { own, content } = me
    if (!own.answered) this.#answerLoaded(next, me, content)
    own.answered = true
    const named = this.#world.namesOf(this.#process, this.#key, content)
    this.#remember(next, named)
    const isLate = me.names.some(({ look }, tag) => named[tag] && look === 'none')
    if (own.doomed || this.#isQueuedNow(next, named)) this.#giveBack(next, me)
    else if (isLate) this.#late(next, me, named)
    else own.at = 'fill'
  }

  /** Whether something of the key, or of the names that turned out to be its own, is queued by now. */
  #isQueuedNow(next: TagsState, named: readonly boolean[]): boolean {
    const names = this.#world.has('queue asks for late names') ? named : []
    return isQueued(this.#world, next, this.#process, this.#key, names)
  }

  /** What the process knows of stamps now. */
  #recall(next: TagsState, me: Reader): void {
    if (!this.#world.setting.remembers) return
    for (const [tag, look] of me.names.entries())
      look.before = next.processes[this.#process]!.places[this.#world.keys + tag]!.memory
  }

  /** Names that only the loaded value tells are listed, and their stamps asked for. */
  #late(next: TagsState, me: Reader, named: readonly boolean[]): void {
    const { copy } = next.processes[this.#process]!.own
    for (const [tag, look] of me.names.entries()) {
      if (!named[tag] || look.look !== 'none') continue
      set(look, { look: 'wanted', listed: true, generation: me.own.generation })
      if (this.#world.setting.generations !== 'tags') continue
      if (!this.#world.has('late generations before the load')) look.generation = next.shared.generation
      if (copy !== me.own.generation && this.#world.has('late names compare generations'))
        me.own.doomed = true
    }
    this.#outcome = ', and does not know all names'
    me.own.at = 'late'
  }

  #askLate(): void {
    this.#state.readers[this.#i]!.names.forEach(({ look }, tag) => {
      if (look !== 'wanted') return
      this.#take(`asks for the stamp of ${this.#world.letter(this.#world.keys + tag)}`, (next, me) => {
        if (!this.#world.has('late names remembered before the load')) this.#recall(next, me)
        this.#lookAt(next, me, tag)
        if (me.names.some(name => name.look === 'wanted')) return
        if (this.#world.setting.replies) me.own.at = 'late heard'
        else this.#judgeLate(next, me)
      })
    })
  }

  /** A late name is good if its stamp had been seen before the load began: then it has stood since. */
  #judgeLate(next: TagsState, me: Reader): void {
    const named = this.#world.namesOf(this.#process, this.#key, me.content)
    const isGood = me.names.every(({ look, token, before, early }, tag) => {
      if (!named[tag] || early) return true
      return look === 'stamp' && (token === before || !this.#world.has('late names seen before the load'))
    })
    const isStamped = me.names.every(({ look }, tag) => !named[tag] || look === 'stamp')
    if (me.own.doomed) this.#giveBack(next, me)
    else if (isGood) me.own.at = 'fill'
    else if (isStamped && this.#world.setting.loadsAgain && !me.own.again)
      set(me.own, { at: 'load', again: true })
    else this.#giveBack(next, me)
  }

  #fill(): void {
    const { lease, sees, claim } = this.#state.readers[this.#i]!.own
    const isAccepted = lease || (sees && claim)
    this.#take(`fills: ${isAccepted ? 'accepted' : 'refused'}`, (next, me) => {
      const named = this.#world.namesOf(this.#process, this.#key, me.content)
      const generations = me.names.map(({ generation }) =>
        this.#world.has('generation of tags before the load') ? generation : next.shared.generation,
      )
      let tokens = me.names.map(({ token }) => token)
      if (!this.#world.has('stamps before the load'))
        tokens = named.map((isNamed, tag) => (isNamed ? (lookAtStamp(this.#world, next, tag) ?? 0) : 0))
      const isUnderGuard = tokens.some((token, tag) => named[tag] && token === 0)
      const content = me.content.slice()
      me.own.claim = false
      if (isAccepted && isUnderGuard) clear(this.#world, next, this.#key)
      else if (isAccepted)
        putValue(this.#world, next, this.#key, content, { named, tokens, generations }, me.own.generation)
      if (this.#world.setting.local)
        set(me.own, { at: 'reply', accepted: isAccepted && !isUnderGuard, sees: false })
      else this.#end(me)
    })
  }

  /** What was found, or accepted, is kept once its reply is here. */
  #keep(): void {
    const { at } = this.#state.readers[this.#i]!.own
    this.#take(`hears the reply to its ${at === 'keep' ? 'question' : 'fill'}`, (next, me) => {
      const named =
        at === 'keep'
          ? me.names.map(look => look.named)
          : this.#world.namesOf(this.#process, this.#key, me.content)
      const isKept = (at === 'keep' || me.own.accepted) && !me.own.doomed
      if (isKept && !this.#isQueuedNow(next, named)) {
        const entry = next.processes[this.#process]!.entries[this.#key]!
        entry.own.kept = true
        entry.content = me.content.slice()
        entry.names.forEach((name, tag) => {
          name.listed = named[tag]!
        })
      }
      this.#end(me)
    })
  }

  /**
   * Somebody of this process joins, and must not be answered with what is older than the process's own writes; where it hears
   * at once, than what it has heard of.
   */
  #join(): void {
    const { own } = this.#state.readers[this.#i]!
    const { places } = this.#state.processes[this.#process]!
    if (own.joined || own.doomed || own.unjoinable || own.answered || this.#strong) return
    const { hearsAtOnce = false } = this.#world.setting
    const known = places.map(place => Math.max(place.own, hearsAtOnce ? place.heard : 0))
    if (known.every(version => version === 0)) return
    this.#take('is joined by another', (_, me) => {
      me.own.joined = true
      me.joinedFloor = known
    })
  }

  #answerJoined(next: TagsState, me: Reader, content: readonly number[] = me.content): void {
    if (me.own.joined) answer(this.#world, next, content, me.joinedFloor)
  }

  /** It is over. What the register holds of it stays there. */
  #end(me: Reader): void {
    const { left, lease, claim } = me.own
    set(me.own, {
      at: 'idle',
      looked: 'nothing',
      sees: false,
      strong: false,
      doomed: false,
      accepted: false,
      answered: false,
      again: false,
      generation: 0,
      asksGeneration: false,
      generationLater: false,
      seenGeneration: 0,
      waits: 'none',
      joined: false,
      unjoinable: false,
    })
    set(me.own, { left, lease, claim })
    for (const numbers of [me.content, me.floor, me.joinedFloor]) numbers.fill(0)
    for (const look of me.names) {
      set(look, { listed: false, look: 'none', token: 0, generation: 0, later: false, named: false })
      set(look, { seenToken: 0, seenGeneration: 0, before: 0, early: false })
    }
  }
}
