/** Asks a credential plugin in each interactive mode; its code is the argument. Run in a terminal by a test. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { execPlugin } from "../../../../src/layers/internal/kubernetes/execPlugin.ts"

for (const interactiveMode of ["IfAvailable", "Always", "Never"]) {
  const { authorization } = await Effect.runPromise(
    execPlugin({
      exec: {
        apiVersion: "client.authentication.k8s.io/v1",
        command: process.execPath,
        args: ["-e", process.argv[2] ?? ""],
        interactiveMode
      },
      command: process.execPath,
      cluster: { server: "https://kubernetes.example" },
      field: "users[it].user.exec"
    }).credentials
  )
  console.log(interactiveMode, authorization === undefined ? "nothing" : Redacted.value(authorization))
}
