// All links, addresses and routes of a namespace, read by one `ip`: what everything else is
// compared with.
import { type LinkAddress, readAddresses } from "./addresses.js";
import { run, type Where } from "./command.js";
import { HostError } from "./errors.js";
import { type Link, readLinks } from "./links.js";
import { MAIN_TABLE, type Route, readRoutes } from "./route-list.js";

/** What the kernel has in one namespace. */
export interface HostFacts {
  links: Link[];
  addresses: LinkAddress[];
  /** Main table, both families. */
  routes: Route[];
}

const LISTS = ["link show", "address show", "route show table all"] as const;

/** Reads a namespace. The three lists follow one another in time: a change in between may show. */
export async function gatherFacts(where: Where = {}): Promise<HostFacts> {
  const argv = ["ip", "-N", "-json", "-details", "-batch", "-"];
  const output = await run(argv, { ...where, input: `${LISTS.join("\n")}\n` });
  // One line of JSON for each line of the batch.
  const [links, addresses, routes] = output.split("\n").map((line) => parse(line, argv));
  return {
    links: readLinks(links),
    addresses: readAddresses(addresses),
    routes: readRoutes(routes).filter((route) => route.table === MAIN_TABLE),
  };
}

function parse(line: string, argv: readonly string[]): unknown {
  if (line.trim() === "") return [];
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new HostError("MESHD_HOST_BAD_OUTPUT", `${argv.join(" ")}: a line is no JSON`, {
      argv,
      cause,
    });
  }
}
