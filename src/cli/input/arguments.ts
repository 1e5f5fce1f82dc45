/**
 * Ways to write a command line that people have from kubectl, brought into the form that the parser reads: `-nteam-a`,
 * `-wojson`, `kpu help get`, `kpu version`.
 */

/** A short flag that takes a value; those that all know from kubectl also after others that take none. */
const short = /^-(?:([wqv]*)(?=[nofsl]))?([nofslepc])(?:=?([^=].*))?$/

const expand = (arg: string): ReadonlyArray<string> => {
  const [, switches = "", name, value] = short.exec(arg) ?? []
  if (name === undefined || (switches === "" && value === undefined)) return [arg]
  return [...Array.from(switches, (letter) => `-${letter}`), value === undefined ? `-${name}` : `-${name}=${value}`]
}

const words = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first, ...rest] = args
  if (first === "help") return [...rest, "--help"]
  return first === "version" ? ["--version", ...rest] : args
}

/** The arguments, each flag as the parser reads it. What follows `--` is left alone. */
export const expandArguments = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  const rest = end === -1 ? [] : args.slice(end)
  return [...words(own.flatMap(expand)), ...rest]
}
