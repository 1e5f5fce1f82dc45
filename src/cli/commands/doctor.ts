/**
 * `kpu doctor`: looks at every step between this machine and a tensor that comes back, in order, and says which one is
 * broken and what to do.
 */
import { randomBytes } from "node:crypto"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Compute from "../../Compute.ts"
import type { KpuServices } from "../../Kpu.ts"
import { defaultPort } from "../../schema/ComputeOptions.ts"
import type { ComputeResource } from "../../schema/ComputeResource.ts"
import type { KpuError } from "../../schema/KpuError.ts"
import { isReady } from "../../schema/Readiness.ts"
import { Endpoint } from "../../services/Endpoint.ts"
import { KubeConfig } from "../../services/KubeConfig.ts"
import { Namespace } from "../../services/Namespace.ts"
import { Exit } from "../CommandError.ts"
import { clientLayer, dialOptions, type TransferMeter } from "../client.ts"
import { type Checked, type Finding, failed, ok, skipped, wordsOf } from "../doctor/Check.ts"
import { checkCrd, checkIdentity, checkOperator, checkPermission, checkServer, permissions } from "../doctor/cluster.ts"
import { checkEndpoint, checkRoundTrip, checkService } from "../doctor/tensors.ts"
import { exitCodes } from "../exitCodes.ts"
import { globals } from "../globals.ts"
import { Leftovers } from "../Leftovers.ts"
import { type DoctorReport, outputVersion } from "../output/json.ts"
import { count } from "../output/quantities.ts"
import { report } from "../output/report.ts"
import { Screen } from "../output/Screen.ts"
import type { Style } from "../output/Style.ts"
import { whileWaiting } from "../output/Waiting.ts"
import { didYouMean } from "../suggestions.ts"
import { specFlags } from "./apply.ts"
import { stripKind } from "./common.ts"

/** A request of a check is given less time than others: there are many, and a person waits. */
const requestTimeout = Duration.seconds(10)

const marks = (style: Style) => ({
  ok: style.green("ok     "),
  warning: style.yellow("warning"),
  failed: style.red(style.bold("FAILED ")),
  skipped: style.dim("skipped")
})

const formatChecked = ({ advice, found, status, title }: Checked, style: Style): string =>
  `${marks(style)[status]}  ${style.bold(title.padEnd(18))}  ${found.replaceAll("\n", "\n           ")}${advice === undefined ? "" : `\n           ${style.bold("try:")} ${advice}`}`

const titles = {
  config: "configuration",
  server: "API server",
  identity: "identity",
  permission: "permission",
  crd: "Compute CRD",
  operator: "operator",
  endpoint: "endpoint",
  service: "tensor service",
  roundtrip: "round trip"
} as const

type Services = KpuServices | TransferMeter

export const doctor = Command.make(
  "doctor",
  {
    name: Argument.String("name").pipe(
      Argument.withDescription("The Compute whose tensor server is looked at; the first that is ready when absent"),
      Argument.optional
    ),
    probe: Flag.Boolean("probe").pipe(
      Flag.withDescription("Create a Compute for the moment, to look at the operator and at tensors, and delete it"),
      Flag.withDefault(false)
    ),
    image: specFlags.image
  },
  Effect.fnUntraced(function* ({ image, name, probe }) {
    const screen = yield* Screen
    const flags = yield* globals
    const checks: Array<Checked> = []
    const live = flags.output === "text"

    const note = (id: string, title: string, finding: Finding) =>
      Effect.gen(function* () {
        const checked = { id, title, ...finding }
        checks.push(checked)
        if (live) yield* screen.print(formatChecked(checked, screen.out.style))
        return finding.status
      })
    const look = <E, R>(id: keyof typeof titles, check: Effect.Effect<Finding, E, R>, suffix = "") =>
      check.pipe(
        whileWaiting(`looking at the ${titles[id]}`),
        Effect.flatMap((finding) => note(suffix === "" ? id : `${id}:${suffix}`, titles[id], finding))
      )
    const skip = (ids: ReadonlyArray<keyof typeof titles>, why: string, advice?: string) =>
      // What to do about it is said once.
      Effect.forEach(ids, (id, index) => note(id, titles[id], skipped(why, index === 0 ? advice : undefined)), {
        discard: true
      })

    const beyondServer = ["identity", "permission", "crd", "operator", "endpoint", "service", "roundtrip"] as const
    const onTensors = ["endpoint", "service", "roundtrip"] as const

    const lookAtTensors = (target: { readonly namespace: string; readonly name: string }) =>
      Effect.gen(function* () {
        const endpoint = yield* Endpoint
        const port = flags.port ?? defaultPort
        const address =
          flags.host === undefined
            ? yield* Effect.result(endpoint.resolve({ ...target, port }))
            : ({
                _tag: "Success",
                success: { host: flags.host, port, hint: "--host names it.", mayResolveLater: false }
              } as const)
        if (address._tag === "Failure") {
          yield* note("endpoint", titles.endpoint, failed(wordsOf(address.failure)))
          return yield* skip(["service", "roundtrip"], "there is no address to dial")
        }
        const where = { ...target, address: address.success }
        if ((yield* look("endpoint", checkEndpoint(where.address))) === "failed") {
          return yield* skip(["service", "roundtrip"], "the endpoint cannot be reached")
        }
        if ((yield* look("service", checkService(where))) === "failed") {
          return yield* skip(["roundtrip"], "the tensor service does not answer")
        }
        yield* look("roundtrip", checkRoundTrip(where))
      })

    /** A Compute for the moment: whether the operator starts it, and tensors through it. */
    const probing = (namespace: string) =>
      Effect.scoped(
        Effect.gen(function* () {
          const leftovers = yield* Leftovers
          const probeName = `kpu-doctor-${randomBytes(4).toString("hex")}`
          const how = `Compute ${namespace}/${probeName}: remove it with kpu delete ${probeName} -n ${namespace}`
          yield* Effect.acquireRelease(leftovers.add(probeName, how), () => leftovers.remove(probeName))
          const started = yield* Compute.scoped({
            ...dialOptions(flags),
            name: probeName,
            image,
            timeout: "90 seconds",
            ifExists: "fail"
          }).pipe(Effect.result, whileWaiting(`waiting for compute/${probeName} to be ready`))
          if (started._tag === "Failure") {
            const error = started.failure as KpuError
            yield* note("operator", titles.operator, failed(wordsOf(error), "see what the operator and the Pod say"))
            return yield* skip(onTensors, "the Compute for the moment did not come up")
          }
          yield* note("operator", titles.operator, ok(`it started compute/${probeName}`))
          yield* lookAtTensors({ namespace, name: probeName })
        })
      )

    const lookAtCluster = Effect.gen(function* () {
      if ((yield* look("server", checkServer)) === "failed")
        return yield* skip(beyondServer, "the API server cannot be used")
      if ((yield* look("identity", checkIdentity)) === "failed") {
        return yield* skip(beyondServer.slice(1), "the API server refuses these credentials")
      }
      const namespace = (yield* Namespace).name
      for (const permission of permissions) {
        const { resource, verb } = permission
        yield* look("permission", checkPermission(permission, namespace), `${verb}-${resource}`)
      }
      if ((yield* look("crd", checkCrd)) === "failed") {
        return yield* skip(["operator", ...onTensors], "this cluster knows no Computes")
      }
      if (probe) return yield* probing(namespace)
      // Not known where they cannot be listed.
      let computes: ReadonlyArray<ComputeResource> | undefined
      yield* look(
        "operator",
        Effect.map(checkOperator(namespace, yield* Clock.currentTimeMillis), (operator) => {
          computes = operator.computes
          return operator.finding
        })
      )
      const wanted = Option.getOrUndefined(Option.map(name, stripKind))
      const chosen = wanted ?? computes?.find(isReady)?.metadata.name
      if (chosen === undefined) {
        return yield* skip(
          onTensors,
          `no Compute of namespace ${namespace} is ready`,
          "kpu doctor --probe creates one for the moment"
        )
      }
      const found = computes?.find(({ metadata }) => metadata.name === chosen)
      if (found === undefined && computes !== undefined) {
        yield* note(
          "endpoint",
          titles.endpoint,
          failed(
            `there is no Compute ${chosen} in namespace ${namespace}${didYouMean(
              chosen,
              computes.map(({ metadata }) => metadata.name)
            )}`,
            "kpu get"
          )
        )
        return yield* skip(["service", "roundtrip"], "there is nothing to dial")
      }
      if (found !== undefined && !isReady(found)) {
        yield* note(
          "endpoint",
          titles.endpoint,
          failed(`compute/${chosen} is not ready`, `kpu describe ${chosen}, or wait for it: kpu wait ${chosen}`)
        )
        return yield* skip(["service", "roundtrip"], "nothing serves yet")
      }
      yield* lookAtTensors({ namespace, name: chosen })
    })

    const layer = clientLayer({ ...flags, requestTimeout: flags.requestTimeout ?? requestTimeout })
    yield* Effect.scoped(
      Effect.gen(function* () {
        const built:
          | { readonly _tag: "Success"; readonly success: Context.Context<Services> }
          | { readonly _tag: "Failure"; readonly failure: KpuError } = yield* Effect.result(Layer.build(layer))
        if (built._tag === "Failure") {
          yield* note(
            "config",
            titles.config,
            failed(
              wordsOf(built.failure),
              "give --kubeconfig or --server, set KUBECONFIG, or start a cluster here: kpu local up"
            )
          )
          return yield* skip(["server", ...beyondServer], "there is no way to a cluster")
        }
        yield* Effect.provide(
          Effect.gen(function* () {
            const config = yield* KubeConfig
            const namespace = yield* Namespace
            yield* note(
              "config",
              titles.config,
              ok(
                `${config.source}: ${config.server}, namespace ${namespace.name}${
                  namespace.source === config.source ? "" : ` (${namespace.source})`
                }`
              )
            )
            yield* lookAtCluster
          }),
          built.success
        )
      })
    ).pipe(
      // What goes wrong is what is reported: retries and their warnings are not.
      Effect.provide(flags.verbose ? Layer.empty : Logger.layer([]))
    )

    const bad = checks.filter(({ status }) => status === "failed")
    const healthy = bad.length === 0
    const data: DoctorReport = {
      apiVersion: outputVersion,
      kind: "DoctorReport",
      healthy,
      checks: checks.map(({ advice, found, id, status, title }) => ({
        id,
        title,
        status,
        found,
        ...(advice === undefined ? {} : { advice })
      }))
    }
    const warnings = checks.filter(({ status }) => status === "warning").length
    const extra = warnings === 0 ? "" : `, ${count(warnings, "warning")}`
    yield* report({
      text: healthy
        ? screen.out.style.green(`Nothing is broken${extra}.`)
        : screen.out.style.red(
            `${bad.length === 1 ? "One thing is" : `${bad.length} things are`} broken${extra}; begin with the first.`
          ),
      names: bad.map(({ id }) => id).join("\n"),
      data
    })
    if (!healthy) return yield* new Exit({ exitCode: exitCodes.unhealthy })
  })
).pipe(
  Command.withDescription(
    "Look at every step from here to a tensor that comes back, and say which is broken (exit code 11) and what to do"
  ),
  Command.withExamples([
    { command: "kpu doctor", description: "The cluster, and the first Compute that is ready" },
    { command: "kpu doctor --probe", description: "With a Compute for the moment" }
  ])
)
