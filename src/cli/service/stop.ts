// Stops a service, whichever way it was started.
import { type Place, type ServiceName, stopProcess } from "./process-files.js";
import { hasUnit, hostSystemd, stopUnit, systemdFits } from "./systemd.js";

/**
 * Stops the service; under systemd it is not started at boot any more either.
 * @returns whether there was anything to stop
 */
export async function stopService(place: Place, name: ServiceName): Promise<boolean> {
  if (systemdFits(place, true) && hasUnit(hostSystemd, name)) {
    await stopUnit(hostSystemd, name, true);
    return true;
  }
  return stopProcess(place, name);
}
