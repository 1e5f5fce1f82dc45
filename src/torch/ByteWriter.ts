/**
 * Where headers, directories and pickles are written, field by field, little-endian.
 *
 * What is taken out is a view, so one block of memory serves several short pieces. Blocks come from Buffer's pool: they
 * cost a twentieth of memory of their own, which for a small tensor is what matters. Their pieces are for sending
 * or writing and then forgetting. What a user keeps is not made here.
 */

/** Large enough for all that stands around one tensor's elements, small enough for Buffer's pool of 8 KiB. */
const blockBytes = 2048

/** Bytes in the making. */
export class ByteWriter {
  // Not zeroed, and shared: only what was written leaves.
  private bytes = Buffer.allocUnsafe(blockBytes)
  private start = 0
  private end = 0

  /** Bytes written and not yet taken. */
  get length(): number {
    return this.end - this.start
  }

  /** What was written since the last time. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(this.start, this.end)
    this.start = this.end
    return taken
  }

  u8(value: number): void {
    this.reserve(1)
    this.bytes[this.end++] = value
  }

  u16(value: number): void {
    this.reserve(2)
    const { bytes, end } = this
    bytes[end] = value
    bytes[end + 1] = value >>> 8
    this.end = end + 2
  }

  u32(value: number): void {
    this.reserve(4)
    const { bytes, end } = this
    bytes[end] = value
    bytes[end + 1] = value >>> 8
    bytes[end + 2] = value >>> 16
    bytes[end + 3] = value >>> 24
    this.end = end + 4
  }

  /** A safe integer. */
  u64(value: number): void {
    this.u32(value % 2 ** 32)
    this.u32(Math.floor(value / 2 ** 32))
  }

  /** Text as UTF-8. */
  text(value: string): void {
    // A UTF-16 unit makes three bytes at most.
    this.reserve(value.length * 3)
    this.end += this.bytes.write(value, this.end)
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.byteLength)
    this.bytes.set(bytes, this.end)
    this.end += bytes.byteLength
  }

  repeat(byte: number, count: number): void {
    this.reserve(count)
    this.bytes.fill(byte, this.end, this.end + count)
    this.end += count
  }

  private reserve(count: number): void {
    if (this.end + count <= this.bytes.byteLength) return
    const { length } = this
    const larger = Buffer.allocUnsafe(Math.max(blockBytes, length * 2, length + count))
    larger.set(this.bytes.subarray(this.start, this.end))
    this.bytes = larger
    this.start = 0
    this.end = length
  }
}
