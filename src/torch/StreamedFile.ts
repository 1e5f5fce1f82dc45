/**
 * A file of tensors that come one after the other: each is written when it comes, and what the file is (a tensor, a list, a
 * dict) is said at its end, since the pickle follows the storages.
 */
import type { DType } from "../schema/DType.ts"
import type { Tensor } from "../schema/Tensor.ts"
import { ArchiveWriter, record, streamHeadRecords } from "./ArchiveWriter.ts"
import { Pickler } from "./Pickler.ts"

/** What the file holds at its root. The names of a dict are in the order of its tensors. */
export type Root =
  | { readonly kind: "tensor" }
  | { readonly kind: "list" }
  | { readonly kind: "dict"; readonly names: ReadonlyArray<string> }

export class StreamedFile {
  private readonly writer = new ArchiveWriter()
  private readonly written: Array<{ readonly dtype: DType; readonly shape: ReadonlyArray<number> }> = []

  /** How many tensors were added. */
  get count(): number {
    return this.written.length
  }
  /** The next pieces: a tensor's elements, and what comes before them. */
  *add({ data, dtype, shape }: Tensor): Generator<Uint8Array> {
    if (this.written.length === 0) yield* this.head()
    yield* this.writer.record(record(`data/${this.written.length}`, data))
    this.written.push({ dtype, shape })
  }
  /** The last pieces. */
  *finish(root: Root): Generator<Uint8Array> {
    if (this.written.length === 0) yield* this.head()
    yield* this.writer.record(record("data.pkl", this.pickle(root)))
    yield this.writer.finish()
  }

  private *head(): Generator<Uint8Array> {
    for (const each of streamHeadRecords) yield* this.writer.record(each)
  }
  private pickle(root: Root): Uint8Array {
    const pickler = new Pickler()
    const tensor = (index: number) => {
      const { dtype, shape } = this.written[index]!
      pickler.tensor(String(index), dtype, shape)
    }
    switch (root.kind) {
      case "tensor":
        tensor(0)
        break
      case "list":
        pickler.list(this.written.length, tensor)
        break
      case "dict":
        pickler.dict(this.written.length, (index) => {
          pickler.string(root.names[index]!)
          tensor(index)
        })
    }
    return pickler.finish()
  }
}
