/** Assertions about types: they hold when this compiles. */

/** `true` when two types are the same one, `any` and `never` told apart. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles when the type is `true`. */
export const holds = <_ extends true>(): void => {}
