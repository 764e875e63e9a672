// CUBIC from the first packet on. iperf3 sets it after connecting, when a host's default of BBR has
// already put the socket on a pacing timer for good; a route can name it before.
import { runSync } from "../../test/support/netns.js";

interface Route {
  dev: string;
  prefsrc?: string;
}

/** Arguments that make a host route like the one that is used now. */
function routeTo(namespace: string, address: string): string[] {
  const text = runSync(namespace, ["ip", "-json", "route", "get", address]);
  const [used] = JSON.parse(text) as Route[];
  if (used === undefined) throw new Error(`no route to ${address} in ${namespace}`);
  const source = used.prefsrc === undefined ? [] : ["src", used.prefsrc];
  return [`${address}/32`, "dev", used.dev, ...source];
}

/**
 * Runs `body` while connections from a host to an address begin with CUBIC; afterwards its routes
 * are as they were. For addresses on a link, without a gateway between.
 */
export async function withCubic<T>(
  namespace: string,
  address: string,
  body: () => Promise<T>,
): Promise<T> {
  const route = routeTo(namespace, address);
  const own = runSync(namespace, ["ip", "route", "show", `${address}/32`]).trim();
  runSync(namespace, ["ip", "route", "replace", ...route, "congctl", "cubic"]);
  try {
    return await body();
  } finally {
    const undo = own === "" ? ["delete", ...route] : ["replace", ...own.split(/\s+/)];
    runSync(namespace, ["ip", "route", ...undo]);
  }
}
