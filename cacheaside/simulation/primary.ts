import type { RegistersAtHand, StreamListener } from '../src/shared/shared-store.ts'
import type { SHARED_OPERATIONS } from '../src/testing/faulty-shared.ts'

/** What can be asked of a server. */
export type Operation = (typeof SHARED_OPERATIONS)[number]

/** A message of the stream, and what it is about. */
export interface Message {
  readonly tell: (listener: StreamListener) => void
  readonly subjects: readonly number[]
  /** Which version of each nothing may be older than that is read where this has been heard. */
  floors: readonly number[]
  readonly forgetting: number
}

/** A link, as the server at its end sees it. */
export interface LinkEnd {
  /** The name of the process at the other end. */
  readonly name: string
  /** Takes a message for the process. */
  publish(message: Message): void
  /** The server is gone. */
  serverLost(): void
  /** From now on the link leads to a primary that has been replaced. */
  stayWith(old: Primary): void
}

/** What a link leads to. */
export interface Primary {
  /** Which life of the server this is. */
  readonly life: number
  readonly isUp: boolean
  /** Who is connected. */
  readonly links: Set<LinkEnd>
  /** What it holds, for processes that it shares one with. */
  readonly atHand?: RegistersAtHand
  /** Does one operation, in one go, and says what came of it. */
  apply(by: LinkEnd, operation: Operation, given: readonly unknown[]): Promise<unknown>
}

/** What a life of the server says of itself. */
export const identityOf = (life: number): string => `life ${life}`
