/** A `host:port` that a user wrote, taken apart. */
import * as Result from "effect/Result"
import { checkOptions } from "../../../schema/ComputeOptions.ts"
import { InvalidInput } from "../../../schema/KpuError.ts"

/** Reads `host`, `host:port`, `[v6]:port` or `http://host:port`. */
export const parseAddress = (
  field: string,
  address: string,
  defaultPort: number
): Result.Result<{ readonly host: string; readonly port: number }, InvalidInput> => {
  const invalid = new InvalidInput({
    field,
    problem: `${JSON.stringify(address)} must be a host with an optional port, such as "gateway.example.com:80"`
  })
  if (typeof address !== "string") return Result.fail(invalid)
  const match = /^(?:http:\/\/)?(\[[^\]]+\]|[^:/[\]]+)(?::(\d{1,5}))?\/?$/.exec(address)
  if (match === null) return Result.fail(invalid)
  const checked = checkOptions({ host: match[1]!, port: match[2] === undefined ? defaultPort : Number(match[2]) })
  return Result.mapBoth(checked, { onSuccess: ({ host, port }) => ({ host, port }), onFailure: () => invalid })
}
