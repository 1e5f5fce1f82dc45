/**
 * Where the real counterparts are that `npm run peers` prepares or finds: kube-apiserver and etcd, kubectl, PyTorch 2.9
 * with grpcio, PyTorch 1.13, the Go tensor programs, zsh and fish. Each is `undefined` where it is missing, and the tests that need it
 * are then skipped, by a name that says what was missing.
 *
 * The folder is `.peers` of this checkout, or the one that `EFFECT_KPU_PEERS` names, so that several checkouts share one.
 * The Kubernetes world's own variables, `TEST_ASSET_KUBE_APISERVER`, `TEST_ASSET_ETCD`, `TEST_ASSET_KUBECTL` and
 * `KUBEBUILDER_ASSETS`, come before it.
 */
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe } from "@effect/vitest"

/** The root of this checkout. */
export const root = resolve(import.meta.dirname, "../..")

/** Where `npm run peers` puts things. */
export const peersFolder = resolve(process.env["EFFECT_KPU_PEERS"] || join(root, ".peers"))

/** A Python interpreter that imports torch. */
export interface PythonPeer {
  readonly python: string
  readonly torch: string
}

export interface Peers {
  /** A real Kubernetes API: kube-apiserver and the etcd that it stores in. */
  readonly kubernetes: { readonly apiserver: string; readonly etcd: string } | undefined
  readonly kubectl: string | undefined
  /** PyTorch 2.9 with grpcio, protobuf, numpy and the Kubernetes client. */
  readonly pytorch: PythonPeer | undefined
  /** PyTorch 1.13 alone: an older reader and writer of tensors. */
  readonly pytorch113: PythonPeer | undefined
  /** The Go tensor server and client. */
  readonly kputensor: string | undefined
  readonly zsh: string | undefined
  readonly fish: string | undefined
}

/** What each peer is called where people read it. */
export const titles: { readonly [K in keyof Peers]: string } = {
  kubernetes: "the real Kubernetes API (kube-apiserver 1.34, etcd 3.6)",
  kubectl: "kubectl 1.34",
  pytorch: "PyTorch 2.9 with grpcio",
  pytorch113: "PyTorch 1.13",
  kputensor: "the Go tensor programs",
  zsh: "the zsh shell",
  fish: "the fish shell"
}

/** What `npm run peers` noted about the peers that it cannot put at a fixed place. */
const noted = (): { readonly [name: string]: { readonly path: string; readonly version: string } | undefined } => {
  try {
    return JSON.parse(readFileSync(join(peersFolder, "peers.json"), "utf8"))
  } catch {
    return {}
  }
}

const find = (): Peers => {
  const notes = noted()
  const existing = (path: string | undefined) => (path !== undefined && existsSync(path) ? path : undefined)
  const binary = (name: string, variable: string) =>
    existing(process.env[variable]) ??
    (process.env["KUBEBUILDER_ASSETS"] ? existing(join(process.env["KUBEBUILDER_ASSETS"], name)) : undefined) ??
    existing(notes[name]?.path)
  const python = (name: string): PythonPeer | undefined => {
    const found = notes[name]
    return found !== undefined && existsSync(found.path) ? { python: found.path, torch: found.version } : undefined
  }
  const apiserver = binary("kube-apiserver", "TEST_ASSET_KUBE_APISERVER")
  const etcd = binary("etcd", "TEST_ASSET_ETCD")
  return {
    kubernetes: apiserver !== undefined && etcd !== undefined ? { apiserver, etcd } : undefined,
    kubectl: binary("kubectl", "TEST_ASSET_KUBECTL"),
    pytorch: python("pytorch"),
    pytorch113: python("pytorch113"),
    kputensor: existing(notes["kputensor"]?.path),
    zsh: existing(notes["zsh"]?.path),
    fish: existing(notes["fish"]?.path)
  }
}

/** The peers of this machine. */
export const peers: Peers = find()

/** Why tests are skipped when `name` is missing, in the words that the summary of `npm test` shows. */
export const missing = (...names: ReadonlyArray<keyof Peers>): string | undefined => {
  const absent = names.filter((name) => peers[name] === undefined)
  return absent.length === 0
    ? undefined
    : `${absent.map((name) => titles[name]).join(" and ")} not prepared: npm run peers`
}

/**
 * `describe` for tests that need peers: without them the suite is skipped, and its name says why.
 *
 * @example
 * describeWith(["kubernetes", "kubectl"], "kubectl against the real API", () => { … })
 */
export const describeWith = (names: ReadonlyArray<keyof Peers>, title: string, body: () => void): void => {
  const reason = missing(...names)
  if (reason === undefined) describe(title, body)
  else describe.skip(`${title} [${reason}]`, body)
}

/** A peer that the calling test cannot be without; call it only where `describeWith` has made sure of it. */
export const need = <K extends keyof Peers>(name: K): NonNullable<Peers[K]> => {
  const peer = peers[name]
  if (peer === undefined) throw new Error(`${titles[name]} is not prepared: run \`npm run peers\``)
  return peer
}
