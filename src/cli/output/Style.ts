/**
 * Colours of a terminal. Every style is a function; without colours it gives the text as it is.
 */

export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const sgr =
  (open: number, close: number) =>
  (text: string): string =>
    text === "" ? "" : `\u001b[${open}m${text}\u001b[${close}m`

const same = (text: string): string => text

export const plain: Style = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same }

export const coloured: Style = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  cyan: sgr(36, 39)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what begins a style
const escapes = /\u001b\[[0-9;]*m/g

/** The text without its styles. */
export const unstyled = (text: string): string => text.replace(escapes, "")

/** The columns that a text takes; styles take none. */
export const width = (text: string): number => [...unstyled(text)].length

/** The text filled with spaces to a width. */
export const padEnd = (text: string, columns: number): string => text + " ".repeat(Math.max(0, columns - width(text)))

/** The text cut to a width, with an ellipsis where something is missing. Loses its styles where it is cut. */
export const truncate = (text: string, columns: number): string => {
  if (width(text) <= columns) return text
  return columns <= 1 ? "…".slice(0, columns) : `${[...unstyled(text)].slice(0, columns - 1).join("")}…`
}
