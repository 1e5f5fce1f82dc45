/**
 * Ways to write flags that people have from kubectl, brought into the form that the parser reads: `-nteam-a`, `-ojson`.
 */

/** The short flags that take a value. */
const valued = /^-([nofsl])([^=-].*)$/

/** The arguments, each flag as the parser reads it. What follows `--` is left alone. */
export const expandArguments = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  const rest = end === -1 ? [] : args.slice(end)
  return [...own.map((arg) => arg.replace(valued, "-$1=$2")), ...rest]
}
