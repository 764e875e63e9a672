// A guest behind a wire with faults:
//
//   bridge of a namespace -- network TAP ==( wire )== node TAP -- bridge -- guest's TAP -- eth0
import { KernelPeer } from "../peers/index.js";
import { runSync, uniqueDevice } from "../support/netns.js";
import { bothWays, TestWire } from "../support/wire.js";

/** What an interop run asks of the path: loss, reordering and duplicates, both ways. */
export const HOSTILE = bothWays(
  { loss_ppm: 10_000, reorder_ppm: 50_000, duplicate_ppm: 10_000 },
  20261122,
);

export interface WiredGuest {
  guest: KernelPeer;
  wire: TestWire;
  address: string;
  /** The guest's end in the namespace: what it sends and gets passes here. */
  tap: string;
  namespace: string;
}

function addBridge(namespace: string, name: string): void {
  const kind = ["type", "bridge", "mcast_snooping", "0"];
  runSync(namespace, ["ip", "link", "add", name, ...kind]);
  // Else the namespace would answer for its own addresses here, and frames would miss the wire.
  const quiet = [`net.ipv6.conf.${name}.disable_ipv6=1`, `net.ipv4.conf.${name}.arp_ignore=1`];
  runSync(namespace, ["sysctl", "-qw", ...quiet]);
  runSync(namespace, ["ip", "link", "set", name, "up"]);
}

/**
 * Boots a guest in a namespace that is there, behind a wire that leads nowhere yet. The wire is
 * there when this resolves, the guest when what it gives is called and resolves.
 */
export async function bootWired(namespace: string, name: string, address: string) {
  const [own, tap] = [uniqueDevice("gb"), uniqueDevice("gt")];
  addBridge(namespace, own);
  const wire = await TestWire.start(namespace, bothWays({}));
  join(namespace, wire.node, own);
  const card = { namespace, tap, addresses: [`${address}/24`], tapAddresses: [] };
  const booting = KernelPeer.start({ name, cards: [card] });
  // Without this a boot that fails before it is awaited would end the process.
  booting.catch(() => undefined);
  return async (): Promise<WiredGuest> => {
    const guest = await booting;
    join(namespace, tap, own);
    return { guest, wire, address, tap, namespace };
  };
}

/** Joins the wire's other end to a bridge, which may be in another namespace. */
export function joinWire({ namespace, wire }: WiredGuest, to: string, bridge: string): void {
  if (to !== namespace) runSync(namespace, ["ip", "link", "set", wire.network, "netns", to]);
  join(to, wire.network, bridge);
}

function join(namespace: string, device: string, bridge: string): void {
  runSync(namespace, ["sysctl", "-qw", `net.ipv6.conf.${device}.disable_ipv6=1`]);
  const argv = ["ip", "link", "set", device, "txqueuelen", "4000", "master", bridge, "up"];
  runSync(namespace, argv);
}
