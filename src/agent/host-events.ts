// Hears what somebody changes on the host, so that an idle agent need not ask. It tells only that
// something changed: what the host looks like is read anew by those who want to know.
import { closeDescriptor, EVENTS_LOST, openEvents, readEvents } from "node-tun";
import { messageOf } from "./errors.js";
import type { AgentLog } from "./types.js";

// Groups of linux/rtnetlink.h: links, addresses, routes, queueing, forwarding and rp_filter.
const NETLINK_ROUTE = 0;
const LINK = 1;
const TC = 4;
const [IPV4_ADDRESS, IPV6_ADDRESS] = [5, 9];
const [IPV4_ROUTE, IPV6_ROUTE] = [7, 11];
const [IPV4_CONF, IPV6_CONF] = [24, 25];
// Of linux/netfilter/nfnetlink.h: rule sets.
const NETLINK_NETFILTER = 12;
const NFTABLES = 7;

// Message types of linux/rtnetlink.h.
const [LINK_FIRST, ADDRESS_LAST] = [16, 23];

/** Distinct kinds of message; there are not more, and of what is left out one says the same. */
const KINDS_MAX = 64;

export interface HostChange {
  /** Anything at all. */
  any: boolean;
  /** Links or addresses. */
  addresses: boolean;
}

export class HostEvents {
  private readonly types = new Uint32Array(KINDS_MAX);

  private constructor(
    private readonly route: number,
    private readonly filter: number | undefined,
  ) {}

  /**
   * Of the network namespace of this process. Undefined on a host that does not let us hear: then
   * it has to be asked.
   */
  static open(log: AgentLog): HostEvents | undefined {
    const groups = [LINK, TC, IPV4_ADDRESS, IPV6_ADDRESS, IPV4_ROUTE, IPV6_ROUTE];
    try {
      const route = openEvents(NETLINK_ROUTE, [...groups, IPV4_CONF, IPV6_CONF]);
      return new HostEvents(route, openFilter());
    } catch (error) {
      log("agent.events.failed", { error: messageOf(error) });
      return undefined;
    }
  }

  /** What came since the last call; what this process changed itself is in it. */
  read(): HostChange {
    const route = this.kindsOf(this.route);
    const others = this.filter === undefined ? [] : this.kindsOf(this.filter);
    return {
      any: route.length + others.length > 0,
      addresses: route.some((type) => type === EVENTS_LOST || isLinkOrAddress(type)),
    };
  }

  close(): void {
    closeDescriptor(this.route);
    if (this.filter !== undefined) closeDescriptor(this.filter);
  }

  private kindsOf(fd: number): number[] {
    return [...this.types.subarray(0, readEvents(fd, this.types))];
  }
}

function isLinkOrAddress(type: number): boolean {
  return type >= LINK_FIRST && type <= ADDRESS_LAST;
}

/** A kernel without nftables has no rule sets to tell of. */
function openFilter(): number | undefined {
  try {
    return openEvents(NETLINK_NETFILTER, [NFTABLES]);
  } catch {
    return undefined;
  }
}
