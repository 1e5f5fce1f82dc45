/** The check of the options of a whole client, before anything is built. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { InvalidInput } from "../../../schema/KpuError.ts"
import { defaultTimeouts, type TimeoutOptions } from "../../../services/Timeouts.ts"

/** The API server's own rule: at most 128 printable characters. */
const fieldManagerRule = /^[\x20-\x7e]{1,128}$/

export const checkClientOptions = (options: {
  readonly fieldManager?: string | undefined
  readonly timeouts?: TimeoutOptions | undefined
}): Result.Result<void, InvalidInput> => {
  const { fieldManager, timeouts = {} } = options
  if (fieldManager !== undefined && (typeof fieldManager !== "string" || !fieldManagerRule.test(fieldManager))) {
    return Result.fail(
      new InvalidInput({ field: "fieldManager", problem: "must be 1 to 128 printable ASCII characters" })
    )
  }
  for (const [name, value] of Object.entries<Duration.Input | undefined>({ ...timeouts })) {
    const field = `timeouts.${name}`
    if (!(name in defaultTimeouts)) {
      const known = Object.keys(defaultTimeouts).join(", ")
      return Result.fail(new InvalidInput({ field, problem: `is no timeout of this client; it has ${known}` }))
    }
    if (value === undefined) continue
    const duration = Option.getOrUndefined(Duration.fromInput(value))
    if (duration === undefined || Number.isNaN(value) || Duration.isNegative(duration)) {
      return Result.fail(
        new InvalidInput({ field, problem: 'must be a duration that is not negative, such as "30 seconds"' })
      )
    }
  }
  return Result.succeed(undefined)
}
