/**
 * The main job, start to end, on the embedded cluster: over real sockets, with no Kubernetes needed.
 *
 * `npm start` runs it. It exits 0 only when every step held.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Data, Effect, Stream } from "effect"
import { Compute, LocalCluster, Tensor } from "effect-kpu"

class StepFailed extends Data.TaggedError("StepFailed")<{ readonly message: string }> {}

const expect = (holds: boolean, message: string) => (holds ? Effect.void : Effect.fail(new StepFailed({ message })))

const shapeOf = (tensor: Tensor) => `${tensor.dtype} [${tensor.shape.join(", ")}]`

/** Runs a step, and prints what came of it with the time that it took. */
const step = <A, E, R>(title: string, effect: Effect.Effect<A, E, R>, show: (value: A) => ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const started = performance.now()
    const value = yield* effect
    const millis = (performance.now() - started).toFixed(0).padStart(5)
    yield* Console.log(`✓ ${title.padEnd(40)} ${millis} ms`)
    for (const line of show(value)) yield* Console.log(`    ${line}`)
    return value
  })

const conditions = (resource: Compute.Resource) =>
  (resource.status?.conditions ?? []).map(({ message, status, type }) => `${type}=${status}: ${message}`)

const program = Effect.gen(function* () {
  const compute = yield* step(
    "apply Compute my-compute",
    Compute.apply({
      name: "my-compute",
      image: "localhost:5001/kpu-torch-server:latest",
      env: { KPU_LOG_LEVEL: "INFO" },
      labels: { team: "ml" }
    }),
    ({ name, namespace }) => [`${namespace}/${name}`]
  )
  // Whatever happens below, the Compute does not outlive this program.
  yield* Effect.addFinalizer(() => Effect.ignore(compute.delete(), { log: true }))

  yield* step("wait until it serves, and connect", Effect.andThen(compute.ready(), compute.resource), conditions)

  const sent = [Tensor.randn([100, 100]), Tensor.randn([50, 50])]
  const receipt = yield* step("send two tensors", compute.sendTensors(sent), ({ message, receivedTensorIds }) => [
    message,
    ...receivedTensorIds.map((id, index) => `${shapeOf(sent[index]!)}  id ${id}`)
  ])
  yield* expect(receipt.receivedTensorIds.length === 2, "the server should have two tensors")

  const received = yield* step(
    "receive two tensors of shape 20×20",
    compute.receiveTensorMessages({ count: 2, parameters: { shape: "20,20" } }).pipe(Stream.runCollect),
    (messages) => messages.map(({ id, tensor }) => `${shapeOf(tensor)}  id ${id}`)
  )
  yield* expect(
    received.length === 2 && received.every(({ tensor }) => tensor.shape.join() === "20,20"),
    "two tensors of shape 20×20 should have come"
  )

  const input = [Tensor.randn([10, 10]), Tensor.randn([20, 20])]
  const echoed = yield* step(
    "stream two tensors through it",
    compute.streamTensorMessages(input).pipe(Stream.runCollect),
    (messages) => messages.map(({ id, tensor }) => `${shapeOf(tensor)}  id ${id}`)
  )
  yield* step(
    "compare them bit for bit",
    expect(
      echoed.length === 2 && echoed.every(({ tensor }, index) => Tensor.equals(tensor, input[index]!)),
      "the tensors should have come back bit-equal"
    ),
    () => ["equal"]
  )

  yield* step("suspend", Effect.andThen(compute.suspend(), compute.resource), conditions)
  const refused = yield* Effect.flip(compute.sendTensors(input))
  yield* expect(refused._tag === "NotReady", "a suspended Compute should refuse tensors with NotReady")

  yield* step("resume", Effect.andThen(compute.resume(), compute.resource), conditions)
  yield* step("send again", compute.sendTensors(input), ({ message }) => [message])
  yield* step("delete", compute.delete(), () => [])
  const gone = yield* Effect.flip(Compute.attach("my-compute"))
  yield* expect(
    gone._tag === "KubernetesError" && gone.reason._tag === "NotFound",
    "the Compute should be gone from the cluster"
  )
  yield* Console.log("The main job held, start to end.")
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalCluster.layer), NodeRuntime.runMain)
