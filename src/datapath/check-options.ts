// What a datapath may be asked for.
import { MAX_WORKERS } from "../../assembly/shared/layout.js";
import { DatapathError } from "./errors.js";

/** Bad values of our own callers; what an operator types is checked by the settings. */
export function checkOptions(options: { deviceName: string; workers: number }): void {
  const { deviceName, workers } = options;
  if (!/^[^\s/:]{1,15}$/.test(deviceName)) {
    const why = `device name "${deviceName}" is not 1 to 15 bytes without "/", ":" and blanks`;
    throw new DatapathError("MESHD_BAD_OPTION", `${why}: choose another`);
  }
  if (!Number.isInteger(workers) || workers < 1 || workers > MAX_WORKERS) {
    const why = `workers is ${workers}, allowed are 1 to ${MAX_WORKERS}`;
    throw new DatapathError("MESHD_BAD_OPTION", `${why}: set another number`);
  }
}
