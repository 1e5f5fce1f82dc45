/**
 * Completion scripts: commands, flags and their values, files, and the names of Computes.
 *
 * **Details.** The scripts are what effect/cli generates of a command's description. That description lacks the global
 * flags, which of the texts are paths, and which are Computes: all three are added here. Commands and flags are known to
 * the script; the names of Computes are asked for when they are completed, of the cluster that the line so far leads to.
 */
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import { globalFlags } from "./globals.ts"
import { kpu } from "./kpu.ts"

export type Shell = "bash" | "zsh" | "fish"

const globalDescriptors = Completions.fromCommand(
  Command.make("globals", Object.fromEntries(globalFlags.map((setting) => [setting.id, setting.flag])))
).flags

const pathFlags = new Set(["kubeconfig", "certificate-authority", "filename", "out", "plot"])
const path = { _tag: "Path", pathType: "file" } as const

/** Stands in a generated script where the names of Computes are to be asked for. */
const computes = "__kpu_computes__"

const withPath = (flag: Completions.FlagDescriptor): Completions.FlagDescriptor =>
  pathFlags.has(flag.name) ? { ...flag, type: path } : flag

const withValues = (argument: Completions.ArgumentDescriptor): Completions.ArgumentDescriptor => {
  if (argument.name === "file") return { ...argument, type: path }
  return argument.name === "name" ? { ...argument, type: { _tag: "Choice", values: [computes] } } : argument
}

const complete = (descriptor: Completions.CommandDescriptor): Completions.CommandDescriptor => ({
  ...descriptor,
  flags: [
    ...descriptor.flags,
    ...globalDescriptors.filter((flag) => !descriptor.flags.some(({ name }) => name === flag.name))
  ].map(withPath),
  // A new Compute has a name of its own.
  arguments: descriptor.name === "apply" ? descriptor.arguments : descriptor.arguments.map(withValues),
  subcommands: descriptor.subcommands.map(complete)
})

/** The flags on the line so far that lead to a cluster and a namespace; each takes a value. */
const leading = [
  "-n",
  "--namespace",
  "-s",
  "--server",
  "--context",
  "--kubeconfig",
  "--token",
  "--certificate-authority"
]
const apart = leading.join("|")

/** The same with the value in the same word, as a pattern of the shell, and the one without a value. */
const attached = (rest: string) => [...leading.map((flag) => `${flag}=${rest}`), "--insecure-skip-tls-verify"].join("|")

/** How each shell asks for the names of Computes: what stands in the script, and the function that it calls. */
const asking: { readonly [S in Shell]: { readonly from: string; readonly to: string; readonly code: string } } = {
  bash: {
    from: `'${computes}'`,
    to: "$(_kpu_compute_names)",
    code: `_kpu_compute_names()
{
  local -a _given=()
  local _i
  for ((_i = 1; _i < cword; _i++)); do
    case "\${words[_i]}" in
      ${apart}) _given+=("\${words[_i]}" "\${words[_i+1]}") ;;
      ${attached("*")}) _given+=("\${words[_i]}") ;;
    esac
  done
  kpu get --output name --quiet --request-timeout 5s "\${_given[@]}" 2>/dev/null | sed 's#.*/##'
}`
  },
  zsh: {
    from: `(${computes})`,
    to: "_kpu_compute_names",
    code: `_kpu_compute_names() {
  local -a line given names
  local i
  line=("\${(@Q)\${(z)LBUFFER}}")
  for ((i = 2; i <= $#line; i++)); do
    case "$line[i]" in
      (${apart}) given+=("$line[i]" "$line[i+1]") ;;
      (${attached("*")}) given+=("$line[i]") ;;
    esac
  done
  names=(\${\${(f)"$(kpu get --output name --quiet --request-timeout 5s "\${given[@]}" 2>/dev/null)"}##*/})
  (( $#names )) && compadd -a names
}`
  },
  fish: {
    from: `-a '${computes}'`,
    to: "-a '(__kpu_compute_names)'",
    code: `function __kpu_compute_names
  set -l line (commandline -opc)
  set -l given
  for i in (seq 2 (count $line))
    if string match -qr -- '^(${apart})$' $line[$i]
      set -a given $line[$i] $line[(math $i + 1)]
    else if string match -qr -- '^(${attached(".*")})$' $line[$i]
      set -a given $line[$i]
    end
  end
  kpu get --output name --quiet --request-timeout 5s $given 2>/dev/null | string replace -r '.*/' ''
end`
  }
}

/** A line that the generated script has of another way to print it. */
const installation = /^#\n# Installation:\n(?:#.*\n)+/m

/**
 * What zsh's script lacks: a command's flags are its own, not those of the level above, once it stands on the line; and
 * a flag's value may follow behind an equals sign.
 */
const zshRepairs = (script: string): string =>
  script
    .replaceAll("'1:command:->command'", "'(-)1:command:->command'")
    .replaceAll("'*::arg:->args'", "'(-)*::arg:->args'")
    .replace(/^( +'(?:\([^)]*\))?\*?--[\w-]+)(\[.*\]:)/gm, "$1=$2")

export const completionScript = (shell: Shell): string => {
  const { code, from, to } = asking[shell]
  const generated = Completions.generate("kpu", shell, complete(Completions.fromCommand(kpu)))
    .replace(installation, "#\n")
    .replaceAll(from, to)
  const [first, ...rest] = (shell === "zsh" ? zshRepairs(generated) : generated).split("\n")
  // The first line of zsh's must stay the first.
  return [first, ...rest.slice(0, 3), "", code, ...rest.slice(3)].join("\n")
}
