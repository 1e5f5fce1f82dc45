/**
 * Tables as kubectl prints them: upper-case headings, three spaces between the columns, nothing after the last one.
 */
import { padEnd, width } from "./Style.ts"

export const formatTable = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  widths: ReadonlyArray<number> = columnWidths(headings, rows)
): string => [headings, ...rows].map((row) => formatRow(row, widths)).join("\n")

/** The widths that columns need. */
export const columnWidths = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): ReadonlyArray<number> =>
  headings.map((heading, column) => Math.max(width(heading), ...rows.map((row) => width(row[column] ?? ""))))

/** The widths, and room for one more row: what is printed already stays where it is. */
export const widened = (widths: ReadonlyArray<number>, row: ReadonlyArray<string>): ReadonlyArray<number> =>
  widths.map((columns, column) => Math.max(columns, width(row[column] ?? "")))

/** One row under given widths; what is wider pushes the rest to the right. */
export const formatRow = (cells: ReadonlyArray<string>, widths: ReadonlyArray<number>): string =>
  cells
    .map((cell, column) => (column === cells.length - 1 ? cell : padEnd(cell, widths[column] ?? 0)))
    .join("   ")
    .trimEnd()
