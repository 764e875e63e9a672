// What a datapath is opened with: memory, workers' module, device and sockets.
import { HandleSet } from "./handle-set.js";
import { createMemory, type DatapathMemory } from "./memory.js";
import { compileModule, instantiateModule } from "./module.js";
import { checkOptions, type DatapathOptions } from "./options.js";
import { type CrewPlan, openSteered, type SteeringStatus } from "./steering.js";

/** Asked for on every socket; the kernel gives it when we are privileged, else its own limit. */
const SOCKET_BUFFER_DEFAULT = 16 * 1024 * 1024;

export interface Parts {
  options: DatapathOptions;
  memory: DatapathMemory;
  module: WebAssembly.Module;
  handles: HandleSet;
  steering: SteeringStatus;
}

/** @throws {DatapathError} with a line for the operator; nothing stays open then. */
export async function openParts(options: DatapathOptions): Promise<Parts> {
  checkOptions(options);
  const module = await compileModule();
  const { opened, status } = await openSteered(options.steering ?? "off", options.workers, (plan) =>
    openPlan(options, module, plan),
  );
  return { options, module, ...opened, steering: status };
}

/** Takes memory and opens handles for that many workers. @throws {SteeringRefused} */
async function openPlan(
  options: DatapathOptions,
  module: WebAssembly.Module,
  plan: CrewPlan,
): Promise<Pick<Parts, "memory" | "handles">> {
  const { workers } = plan;
  const { peerCapacity, prefixCapacity } = options;
  const memory = createMemory({
    workers,
    ...(peerCapacity === undefined ? {} : { peerCapacity }),
    ...(prefixCapacity === undefined ? {} : { prefixCapacity }),
  });
  instantiateModule(module, memory.memory);
  const handles = await HandleSet.open({
    tun: { name: options.deviceName, queues: workers, persist: options.persist ?? true },
    underlay: options.underlay,
    socketBuffer: options.socketBuffer ?? SOCKET_BUFFER_DEFAULT,
    plan,
  });
  return { memory, handles };
}
