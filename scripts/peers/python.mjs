// The Python peers: an environment of its own with PyTorch 2.9 and grpcio, and the PyTorch 1.13 that Debian has.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { installPackage } from "./debian.mjs"
import { fileText, folder, kept, Problem, root, run, stampOf, which } from "./workshop.mjs"

const requirements = "test/peers/python/requirements.txt"
const proto = "proto/kpu/torch/service.proto"

/** What the pinned requirements run on. */
const OLDEST = [3, 11]
const NEWEST = [3, 14]

const versionOf = (python) => {
  const { status, stdout } = spawnSync(python, ["-c", "import sys; print(*sys.version_info[:2])"], { encoding: "utf8" })
  return status === 0 ? stdout.trim().split(" ").map(Number) : undefined
}

const thePython = () => {
  const candidates = ["python3", "python3.13", "python3.12", "python3.11"].map(which).filter(Boolean)
  for (const python of candidates) {
    const version = versionOf(python)
    if (version && version[0] === 3 && version[1] >= OLDEST[1] && version[1] <= NEWEST[1]) return python
  }
  throw new Problem(
    `There is no Python ${OLDEST.join(".")} to ${NEWEST.join(".")} on the PATH. Install one (Debian: apt-get install python3 python3-pip python3-venv).`
  )
}

let installer
/** uv, from PyPI, into a folder of its own: it installs PyTorch's gigabytes in a fraction of pip's time. */
const theUv = () => {
  installer ??= (async () => {
    const own = join(folder, "uv", "bin", "uv")
    if (existsSync(own)) return own
    const python = thePython()
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    await run(python, [...pip, "--target", join(folder, "uv"), "uv==0.13.9"], { what: "pip install uv" })
    return own
  })()
  return installer
}

/** `uv pip install` with these arguments. */
export const installWithUv = async (args, python = thePython()) => {
  const uv = await theUv()
  await run(uv, ["pip", "install", "--quiet", "--python", python, ...args], { what: "uv pip install" })
}

const pytorchStamp = () => stampOf(fileText(requirements), fileText(proto))

export const pytorch = {
  name: "pytorch",
  title: "PyTorch 2.9 with grpcio",
  takes: "about 7 GB, its CUDA libraries included; it runs on the CPU",
  find: () => kept("pytorch", pytorchStamp()),
  make: async () => {
    const environment = join(folder, "python")
    const python = join(environment, "bin", "python")
    const uv = await theUv()
    await run(uv, ["venv", "--quiet", "--clear", "--python", thePython(), environment])
    await installWithUv(["-r", join(root, requirements)], python)
    const site = (await run(python, ["-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"])).trim()
    await run(python, [
      "-m",
      "grpc_tools.protoc",
      `-I${join(root, "proto")}`,
      `--python_out=${site}`,
      `--grpc_python_out=${site}`,
      proto.replace("proto/", "")
    ])
    // The import is the proof: it loads every library, compiles what it will run, and tells the version.
    const imports =
      "import torch, grpc, numpy, kubernetes; from kpu.torch import service_pb2_grpc; print(torch.__version__.split('+')[0])"
    const version = (await run(python, ["-c", imports], { what: "import torch" })).trim()
    return { path: python, version, stamp: pytorchStamp() }
  }
}

/** PyTorch 1.13 in this Python, or undefined. */
const torch113 = (python) => {
  const { status, stdout } = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { encoding: "utf8" })
  return status === 0 && stdout.startsWith("1.13.")
    ? { path: python, version: stdout.trim(), stamp: "1.13" }
    : undefined
}

const SYSTEM = "/usr/bin/python3"

export const pytorch113 = {
  name: "pytorch113",
  title: "PyTorch 1.13",
  takes: "Debian's python3-torch",
  find: () => kept("pytorch113", "1.13") ?? (existsSync(SYSTEM) ? torch113(SYSTEM) : undefined),
  make: async () => {
    const wish = "Install Debian 12's python3-torch (apt-get install python3-torch), which is 1.13."
    await installPackage("PyTorch 1.13", "python3-torch", wish)
    const made = torch113(SYSTEM)
    if (!made)
      throw new Problem(
        `python3-torch is installed, but ${SYSTEM} finds no PyTorch 1.13: another Debian release has another version.`
      )
    return made
  }
}
