/**
 * Memory of tensors that is used again when the user has let go of them. Fresh memory costs a page fault every 4 KiB,
 * which is half of what receiving takes.
 *
 * **The hard thing** is a tensor that is used after its end. Its buffer is detached then, and the memory goes on in
 * another one: what still holds the tensor finds it empty, or gets a TypeError, and never another tensor's bytes.
 */

/** Below, memory comes from the allocator's own warm pages. */
const minPooledBytes = 256 * 1024

/** The most memory that is kept while nobody uses it. */
const maxIdleBytes = 256 * 2 ** 20

/** A buffer may be so many times the size of what goes into it. */
const maxSlack = 1.25

export class TensorMemory {
  private readonly idle: Array<ArrayBuffer> = []
  private idleBytes = 0

  /** Memory for a payload: not zeroed, since it will be written in full. */
  allocate(size: number): Uint8Array<ArrayBuffer> {
    for (let index = this.idle.length - 1; index >= 0; index--) {
      const buffer = this.idle[index]!
      if (buffer.byteLength >= size && buffer.byteLength <= size * maxSlack) {
        this.idle.splice(index, 1)
        this.idleBytes -= buffer.byteLength
        return new Uint8Array(buffer, 0, size)
      }
    }
    return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer, 0, size)
  }

  /** Ends every view of this memory, and keeps it for another tensor. */
  release({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.detached) return
    const moved = buffer.transfer()
    if (moved.byteLength < minPooledBytes) return
    this.idle.push(moved)
    this.idleBytes += moved.byteLength
    // The oldest goes: sizes change over the life of a connection. One buffer may be larger than the whole limit.
    while (this.idleBytes > maxIdleBytes && this.idle.length > 1) this.idleBytes -= this.idle.shift()!.byteLength
  }

  /** Lets go of what nobody uses. */
  clear(): void {
    this.idle.length = 0
    this.idleBytes = 0
  }
}
