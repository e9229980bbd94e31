/** How many slots a Cluster divides its keys into. */
export const SLOTS = 16_384

/** CRC-16/XMODEM of each byte, as Redis Cluster uses it. */
const CRC = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

/**
 * The slot of a key.
 *
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open === -1 ? -1 : key.indexOf('}', open + 1)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (let i = 0; i < hashed.length; i++) {
    const unit = hashed.charCodeAt(i)
    if (unit > 0x7f) return slotOfBytes(Buffer.from(hashed))
    crc = ((crc << 8) & 0xffff) ^ CRC[(crc >> 8) ^ unit]!
  }
  return crc % SLOTS
}

function slotOfBytes(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ CRC[(crc >> 8) ^ byte]!
  return crc % SLOTS
}
