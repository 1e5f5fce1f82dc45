#!/usr/bin/env node
/**
 * Where the `kpu` command begins: it turns on Node's cache of compiled code, which saves a third of the time to start,
 * before anything large is loaded.
 */
import { enableCompileCache } from "node:module"

enableCompileCache()
await import("./process.ts")
