/**
 * For anyone who writes a shared store: what one must promise, how registers look, and what each operation makes of
 * them. `cacheaside/testing` has the contract suite that goes with it.
 *
 * @packageDocumentation
 */
export { type Mark, markedToken } from './key-mark.ts'
export {
  claimPrefix,
  type Field,
  type GuardRegister,
  guardText,
  HOLDER_LENGTH,
  HOLDERS_AT,
  type Holder,
  isMarked,
  LAYOUT,
  type LaterRegister,
  type LeaseRegister,
  laterGuardText,
  leaseText,
  MAX_TAG_LENGTH,
  MAX_TAGS,
  markOf,
  NO_CLAIM,
  parseRegister,
  type Register,
  type StampRegister,
  stampText,
  type UnreadableRegister,
  type ValueRegister,
  valueAroundTimes,
  valuePrefix,
  valueText,
  withClaim,
} from './register.ts'
export {
  type Change,
  claimed,
  dropped,
  filled,
  guarded,
  invalidated,
  leased,
  type NewValue,
  type RegisterText,
  released,
  type Step,
  stamped,
  stampRenewed,
  swapped,
} from './register-rules.ts'
export {
  type Expected,
  type Fill,
  type GuardReply,
  type HeartbeatReply,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type ReleaseReply,
  type SharedIdentity,
  type SharedRegisters,
  type SharedStore,
  type SharedStream,
  type Stamp,
  type StoreView,
  type StreamListener,
} from './shared-store.ts'
