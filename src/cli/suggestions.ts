/** What a mistyped name may have meant. */

/** How many letters have to be put in, left out, changed or swapped with their neighbour to come from one to the other. */
const distance = (from: string, to: string): number => {
  let before: ReadonlyArray<number> = []
  let above: ReadonlyArray<number> = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const now = [row]
    for (let column = 1; column <= to.length; column++) {
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = row > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      now[column] = Math.min(
        above[column]! + 1,
        now[column - 1]! + 1,
        above[column - 1]! + (isSame ? 0 : 1),
        isSwapped ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      )
    }
    before = above
    above = now
  }
  return above[to.length]!
}

/** The candidate that is nearest to the word, where one is near: a third of its letters may be wrong, two at most. */
export const nearest = (word: string, candidates: Iterable<string>): string | undefined => {
  let found: string | undefined
  let least = Math.min(2, Math.ceil(word.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= least) continue
    const letters = distance(word, candidate)
    if (letters < least) {
      least = letters
      found = candidate
    }
  }
  return found
}

/** `; did you mean "x"?`, where something is near. */
export const didYouMean = (word: string, candidates: Iterable<string>): string => {
  const found = nearest(word, candidates)
  return found === undefined ? "" : `; did you mean ${JSON.stringify(found)}?`
}
