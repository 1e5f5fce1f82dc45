/**
 * Error handling: every failure is typed, says what to do, and knows whether trying again may help.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Schedule } from "effect"
import { Compute, Kpu, Tensor } from "effect-kpu"

/** What to tell a person. Each handler takes its error out of the type: what is left over is seen by the compiler. */
const told = Effect.fn("told")(function* (name: string) {
  const compute = yield* Compute.scoped({ name, timeout: "2 minutes" })
  const receipt = yield* compute.sendTensors([Tensor.randn([16, 16])])
  return receipt.message
}, Effect.scoped)

const explained = (name: string) =>
  told(name).pipe(
    Effect.catchTags({
      InvalidInput: ({ field, problem }) => Effect.succeed(`wrong ${field}: ${problem}`),
      ReadyTimeout: ({ problem }) => Effect.succeed(`it did not come up: ${problem}`),
      ComputeFailed: ({ pod, reason }) =>
        Effect.succeed(`it cannot start: ${reason} (look with: kubectl describe pod ${pod})`),
      SendRejected: ({ receipt }) =>
        Effect.succeed(`the server kept ${receipt.receivedTensorIds.length}: ${receipt.message}`)
    }),
    Effect.catchReason("KubernetesError", "Forbidden", ({ message }) => Effect.succeed(`not allowed: ${message}`))
  )

/** Tries again what may help, three times, and fails with the last error otherwise. */
export const persistent = <A, E extends { readonly isRetryable: boolean }, R>(call: Effect.Effect<A, E, R>) =>
  call.pipe(
    Effect.retry({ schedule: Schedule.exponential("200 millis"), times: 3, while: (error) => error.isRetryable })
  )

export const program = Effect.gen(function* () {
  const good = yield* explained("error-handling")
  const bad = yield* explained("Error Handling")
  const absent = yield* persistent(Compute.attach("nobody")).pipe(
    Effect.scoped,
    Effect.map(() => "it is there"),
    Effect.catchReason("KubernetesError", "NotFound", () => Effect.succeed("there is no such Compute"))
  )
  yield* Effect.log([good, bad, absent].join("\n"))
  return [good, bad, absent]
})

if (import.meta.main) program.pipe(Effect.provide(Kpu.layer), NodeRuntime.runMain)
