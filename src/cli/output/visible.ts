/**
 * Text from elsewhere (names of tensors and files, words of servers) as a terminal may have it: a control character
 * could move the cursor, change the title or hide what stands before it, and is shown as its code instead.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const controls = /\u001b\[\d+(?:;\d+)*m|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/** In the form of a JSON string, so that JSON stays JSON. */
const code = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** Lines for a terminal. Colours stay where it has them. */
export const harmless = (text: string, hasColour: boolean): string =>
  text.replace(controls, (found) =>
    found.length === 1 ? code(found) : hasColour ? found : code(found[0]!) + found.slice(1)
  )

/** A name within a line: it neither ends the line nor colours it. */
export const visible = (name: string): string => harmless(name, false).replaceAll("\n", "\\n").replaceAll("\t", "\\t")
