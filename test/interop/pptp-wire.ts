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
}

function addBridge(namespace: string, name: string): void {
  const kind = ["type", "bridge", "mcast_snooping", "0"];
  runSync(namespace, ["ip", "link", "add", name, ...kind]);
  // Else the namespace would answer for its own addresses here, and frames would miss the wire.
  const quiet = [`net.ipv6.conf.${name}.disable_ipv6=1`, `net.ipv4.conf.${name}.arp_ignore=1`];
  runSync(namespace, ["sysctl", "-qw", ...quiet]);
  runSync(namespace, ["ip", "link", "set", name, "up"]);
}

/** Boots a guest and joins it by a wire to a bridge that is there. */
export async function bootWired(
  namespace: string,
  bridge: string,
  name: string,
  address: string,
): Promise<WiredGuest> {
  const [own, tap] = [uniqueDevice("gb"), uniqueDevice("gt")];
  addBridge(namespace, own);
  const wire = await TestWire.start(namespace, bothWays({}));
  const join = (device: string, to: string) => {
    runSync(namespace, ["sysctl", "-qw", `net.ipv6.conf.${device}.disable_ipv6=1`]);
    runSync(namespace, ["ip", "link", "set", device, "txqueuelen", "4000", "master", to, "up"]);
  };
  join(wire.network, bridge);
  join(wire.node, own);
  const card = { namespace, tap, addresses: [`${address}/24`], tapAddresses: [] };
  const guest = await KernelPeer.start({ name, cards: [card] });
  join(tap, own);
  return { guest, wire, address, tap };
}
