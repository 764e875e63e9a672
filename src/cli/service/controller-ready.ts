// Whether a controller that was just started answers.
import { AdminClient, type Mesh } from "../../../control/index.js";
import type { Invocation } from "../command.js";
import { givenAuthorities } from "../nats-ca.js";
import { type ControllerState, controllerState } from "./controller-state.js";

/** Ready is: the process says so, and a question through NATS is answered. */
export async function answering(
  invocation: Invocation,
  mesh: Mesh,
  pid: number,
): Promise<ControllerState | undefined> {
  try {
    const state = controllerState(invocation.settings);
    if (state?.pid !== pid) return undefined;
    // It waits for the others of its cluster, and says so.
    if (state.controllerId === "") return state;
    const admin = await AdminClient.connect({
      servers: state.nats.split(","),
      ca: givenAuthorities(invocation.settings) ?? mesh.ca,
      credentials: mesh.adminCredentials,
      mesh: mesh.name,
    });
    await admin.config.get().finally(() => admin.close());
    return state;
  } catch {
    return undefined;
  }
}
