const encoder = new TextEncoder()

/**
 * What the races use of Node's `Buffer` when they run in a browser. They keep no bytes in the cache, and draw their tokens from a
 * simulated clock: so it is the length of texts, and what has to be there when the library is loaded.
 */
export class Buffer extends Uint8Array<ArrayBuffer> {
  static allocUnsafe(length: number): Buffer {
    return new Buffer(new ArrayBuffer(length))
  }

  static byteLength(text: string): number {
    return encoder.encode(text).length
  }

  static isBuffer(value: unknown): boolean {
    return value instanceof Buffer
  }
}
