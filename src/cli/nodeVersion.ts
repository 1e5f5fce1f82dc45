/** Whether this Node is new enough, before anything is loaded that an older one cannot read. */
import { requiredNode } from "./version.ts"

const numbers = (version: string): readonly [major: number, minor: number] => {
  const [, major, minor] = /(\d+)(?:\.(\d+))?/.exec(version) ?? []
  return [Number(major ?? 0), Number(minor ?? 0)]
}

/** What is wrong with a version of Node, if anything. */
export const nodeProblem = (version: string): string | undefined => {
  const [major, minor] = numbers(version)
  const [wantedMajor, wantedMinor] = numbers(requiredNode)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
    ? undefined
    : `kpu needs Node ${wantedMajor}.${wantedMinor} or newer, and this is Node ${version}`
}
