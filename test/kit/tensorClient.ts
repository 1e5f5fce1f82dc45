/** The tensor client under test, connected to a server of the test kit. */
import * as Effect from "effect/Effect"
import { TensorClient } from "../../src/services/TensorClient.ts"

/** A connection as the Compute `default/my-compute` would have it. */
export const connectTo = (server: { readonly host: string; readonly port: number }) =>
  Effect.flatMap(TensorClient, (client) =>
    client.connect({
      address: { host: server.host, port: server.port, hint: "", mayResolveLater: false },
      namespace: "default",
      name: "my-compute"
    })
  )
