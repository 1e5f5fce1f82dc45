/**
 * The one client of a program that does not write Effect: configured by `init`, or built by itself at the first use.
 *
 * **What goes wrong.** Configuring twice, or after the first use, would leave some Computes on one cluster and some on
 * another: it is an error. A client that could not be built (no kubeconfig, say) is tried anew by the next call.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Kpu } from "../Kpu.ts"
import { KubeConfig, type KubeConfigOptions } from "../KubeConfig.ts"
import { InvalidInput } from "../schema/KpuError.ts"
import type { Endpoint } from "../services/Endpoint.ts"
import type { GrpcChannel } from "../services/GrpcChannel.ts"
import * as KpuService from "../services/Kpu.ts"
import type * as KubeConfigService from "../services/KubeConfig.ts"
import type { TimeoutOptions } from "../services/Timeouts.ts"
import { runWith } from "./signals.ts"

/** The client's configuration; everything that is left out is found by itself. */
export interface InitOptions {
  /** The way to the cluster: server and credentials, or one of the layers of `KubeConfig`. */
  readonly config?: KubeConfigOptions | Layer.Layer<KubeConfigService.KubeConfig, unknown> | undefined
  /** The namespace of all Computes. */
  readonly namespace?: string | undefined
  /** How Computes are dialled: one of the layers of `Endpoint`. */
  readonly endpoint?: Layer.Layer<Endpoint, unknown> | undefined
  /** The transport: one of the layers of `GrpcChannel`. */
  readonly channel?: Layer.Layer<GrpcChannel, unknown> | undefined
  /** The field manager of server-side apply; `kpu-typescript-client` by default. */
  readonly fieldManager?: string | undefined
  readonly timeouts?: TimeoutOptions | undefined
}

/** A client that is whole already, such as `LocalCluster.layer`. */
export interface InitWithLayer {
  readonly layer: Layer.Layer<KpuService.Kpu, unknown>
}

type Runtime = ManagedRuntime.ManagedRuntime<KpuService.Kpu, unknown>

/** What `init` was given. */
let configured: { readonly layer: Layer.Layer<KpuService.Kpu, unknown> } | undefined
let runtime: Runtime | undefined
/** What is to be closed before the client is. */
const open = new Set<() => Promise<void>>()

const layerOf = (options: InitOptions | InitWithLayer): Layer.Layer<KpuService.Kpu, unknown> => {
  if ("layer" in options) return options.layer
  const { config, ...rest } = options
  if (config === undefined) return Kpu.layerWith(rest)
  const layer: Layer.Layer<KubeConfigService.KubeConfig, unknown> =
    "server" in config ? KubeConfig.layerOptions(config) : config
  return Kpu.layerWith({ ...rest, config: layer })
}

/**
 * Configures the client of this process, once and before its first use. Without it, cluster and namespace are found as
 * `kubectl` finds them.
 *
 * What it gives closes the client: with `await using` at the end of the block, or by `shutdown()`.
 *
 * @example
 * ```ts
 * import { init } from "effect-kpu/promise"
 *
 * init({ namespace: "team-a" })
 * ```
 *
 * @example
 * ```ts
 * import { LocalCluster } from "effect-kpu"
 * import { init } from "effect-kpu/promise"
 *
 * await using _client = init({ layer: LocalCluster.layer })
 * ```
 */
export const init = (options: InitOptions | InitWithLayer = {}): AsyncDisposable => {
  const problem =
    runtime !== undefined
      ? "the client is in use already; call init() once, before the first Compute"
      : configured !== undefined
        ? "the client is configured already; init() is called once"
        : undefined
  if (problem !== undefined) throw new InvalidInput({ field: "init", problem })
  const own = { layer: layerOf(options) }
  configured = own
  // After a shutdown another client may have taken this one's place.
  return { [Symbol.asyncDispose]: async () => (configured === own ? shutdown() : undefined) }
}

/**
 * Closes the client: every Compute that is still held is disposed of, then connections and watches are closed.
 * Afterwards `init` may be called anew.
 *
 * @example
 * ```ts
 * import { shutdown } from "effect-kpu/promise"
 *
 * process.once("SIGTERM", () => void shutdown())
 * ```
 */
export const shutdown = async (): Promise<void> => {
  const closing = runtime
  try {
    await Promise.all([...open].map((close) => close()))
  } finally {
    if (runtime === closing) {
      runtime = undefined
      configured = undefined
    }
    await closing?.dispose()
  }
}

/** Registers what `shutdown` closes; gives what takes it out again. */
export const whileOpen = (close: () => Promise<void>): (() => void) => {
  open.add(close)
  return () => open.delete(close)
}

/** The client, built at its first use. */
export const useClient = async <A, E>(
  f: (kpu: KpuService.Kpu["Service"], context: Context.Context<never>) => Effect.Effect<A, E>,
  signal: AbortSignal | undefined
): Promise<A> => {
  runtime ??= ManagedRuntime.make(configured?.layer ?? Kpu.layer)
  const current = runtime
  signal?.throwIfAborted()
  const context = await current.context().catch((error: unknown) => {
    // A failed build stays failed: the next call begins anew.
    if (runtime === current) runtime = undefined
    throw error
  })
  return runWith(context)(f(Context.get(context, KpuService.Kpu), context), signal)
}
