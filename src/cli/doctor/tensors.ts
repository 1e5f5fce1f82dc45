/** The checks of one Compute's tensor server: reachable, answering, a round trip. */
import { connect } from "node:net"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { GrpcError } from "../../schema/KpuError.ts"
import { equals } from "../../schema/Tensor.ts"
import { randn } from "../../schema/TensorRandom.ts"
import type { Address } from "../../services/Endpoint.ts"
import { TensorClient } from "../../services/TensorClient.ts"
import { type Finding, failed, ok, warning } from "./Check.ts"

const patience = "10 seconds"

const tcp = ({ host, port }: Address): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    const socket = connect({ host: host.replace(/^\[|\]$/g, ""), port })
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(undefined))
    })
    socket.once("error", (cause: NodeJS.ErrnoException & { errors?: ReadonlyArray<NodeJS.ErrnoException> }) =>
      resume(Effect.succeed(cause.code ?? cause.errors?.[0]?.code ?? cause.message))
    )
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed("ETIMEDOUT") }))

const words: { readonly [code: string]: string } = {
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name does not resolve now",
  ECONNREFUSED: "nothing listens there",
  ETIMEDOUT: "no answer: a firewall, or no route",
  EHOSTUNREACH: "there is no route to it",
  ENETUNREACH: "there is no route to it"
}

/** Whether something accepts connections where the Compute is dialled. */
export const checkEndpoint = (address: Address): Effect.Effect<Finding> =>
  Effect.map(tcp(address), (code) => {
    const place = `${address.host}:${address.port}`
    return code === undefined
      ? ok(`${place} accepts connections`)
      : failed(
          `${place}: ${words[code] ?? code} (${code})`,
          `${address.hint} On the command line: --gateway, --host and --port.`
        )
  })

const notOurs = "is that address a KPU tensor server, or a Gateway that routes to one?"

const judgeError = (error: GrpcError): Finding => {
  const said = `${error.code}: ${error.details}`
  switch (error.code) {
    case "UNIMPLEMENTED":
      return failed(`a gRPC server answers, without the service kpu.torch.Service (${said})`, notOurs)
    case "UNAVAILABLE":
    case "NOT_FOUND":
      return failed(said, notOurs)
    case "DEADLINE_EXCEEDED":
      return failed(`no answer within ${patience}`, "look at the Compute's Pod: kubectl logs NAME-0")
    case "UNAUTHENTICATED":
    case "PERMISSION_DENIED":
      return failed(said, "the server, or what stands before it, wants other credentials")
    default:
      // The service is there; what it thinks of the request is its own affair.
      return warning(`the tensor service answers, with an error: ${said}`)
  }
}

interface Target {
  readonly namespace: string
  readonly name: string
  readonly address: Address
}

/** Whether the tensor service answers a call. */
export const checkService = (target: Target) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* TensorClient
      const connected = yield* Effect.result(
        client
          .connect(target)
          .pipe(Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed(undefined) }))
      )
      if (connected._tag === "Failure") return failed(`no HTTP/2 there: ${connected.failure.details}`, notOurs)
      if (connected.success === undefined) {
        return failed(`something accepts connections and says nothing for ${patience}: no HTTP/2 server`, notOurs)
      }
      const answer = yield* connected.success
        .receiveTensors({ count: 1, deadline: patience })
        .pipe(Stream.runHead, Effect.result)
      if (answer._tag === "Success") {
        return answer.success._tag === "Some"
          ? ok(
              `kpu.torch.Service sends a tensor: ${answer.success.value.dtype} [${answer.success.value.shape.join(", ")}]`
            )
          : warning("kpu.torch.Service answers, and sent no tensor when it was asked for one")
      }
      const error = answer.failure
      return error._tag === "GrpcError" ? judgeError(error) : failed(error.message, notOurs)
    })
  )

/** Whether a tensor comes back through the Compute. */
export const checkRoundTrip = (target: Target) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* TensorClient
      const tensor = randn([16, 16])
      const started = yield* Clock.currentTimeMillis
      const answer = yield* Effect.flatMap(client.connect(target), (connection) =>
        connection.streamTensors([tensor], { deadline: patience }).pipe(Stream.runCollect)
      ).pipe(Effect.result)
      const millis = (yield* Clock.currentTimeMillis) - started
      if (answer._tag === "Failure") {
        const error = answer.failure
        return error._tag === "GrpcError" ? judgeError(error) : failed(error.message)
      }
      const [first] = answer.success
      if (first === undefined) return warning("a tensor was taken, and none came back: this Compute may be made so")
      return equals(first, tensor)
        ? ok(`a tensor went there and back unchanged in ${millis} ms`)
        : ok(`a tensor went there, and ${first.dtype} [${first.shape.join(", ")}] came back in ${millis} ms`)
    })
  )
