/** Help as a terminal of some width shows it best: what does not fit goes on under its own column. */
import { unstyled, width } from "./Style.ts"

/** Words in lines of a width; a word that is wider than it has a line of its own. */
const wrapWords = (text: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(" ")) {
    const last = lines.at(-1)
    if (last !== undefined && width(last) + 1 + width(word) <= columns) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** The least that a column of explanations has beside what it explains. */
const leastColumns = 30
const indent = " ".repeat(6)

// A term, space, and what is said of it.
const entry = /^( {2}\S.*? {2,})(\S.*)$/

const wrapLine = (line: string, columns: number): string => {
  if (width(line) <= columns) return line
  const [, term, text] = entry.exec(line) ?? []
  if (term !== undefined && text !== undefined) {
    const beside = columns - width(term)
    return beside >= leastColumns
      ? term + wrapWords(text, beside).join(`\n${" ".repeat(width(term))}`)
      : [term.trimEnd(), ...wrapWords(text, columns - indent.length).map((part) => indent + part)].join("\n")
  }
  return wrapWords(line.trim(), columns - 2)
    .map((part) => `  ${part}`)
    .join("\n")
}

/** The help text in lines of a width. Examples stay as they are: they are copied. */
export const wrapHelp = (help: string, columns: number): string => {
  const lines = help.split("\n")
  const examples = lines.findIndex((line) => unstyled(line) === "EXAMPLES")
  return lines.map((line, index) => (examples === -1 || index < examples ? wrapLine(line, columns) : line)).join("\n")
}
