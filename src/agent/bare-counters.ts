// What nftables counted of packets that cross the underlay bare: by peer, and what was dropped. The
// hot path never sees them.
import { type AdmissionCounters, readAdmission } from "../host/index.js";
import type { PlannedPeer } from "./plan/types.js";
import { hostDropRows } from "./queue-drops.js";
import type { BareTraffic, DropRow } from "./types.js";

export class BareCounters {
  private last: AdmissionCounters | undefined;

  constructor(private readonly deviceName: string) {}

  /** Reads the kernel's counters anew; what cannot be read is not known. */
  async refresh(isWanted: boolean): Promise<void> {
    const read = isWanted ? readAdmission(this.deviceName) : Promise.resolve(undefined);
    this.last = await read.catch(() => undefined);
  }

  /** Sums of a peer's prefixes; null when it has none beside the tunnel, or none is counted. */
  of(peer: PlannedPeer): BareTraffic | null {
    const counted = peer.prefixes.flatMap((prefix) => this.last?.peers.get(prefix) ?? []);
    if (counted.length === 0) return null;
    const sum = (direction: "egress" | "ingress", unit: "packets" | "bytes") =>
      counted.reduce((total, one) => total + one[direction][unit], 0);
    return {
      egress: { packets: sum("egress", "packets"), bytes: sum("egress", "bytes") },
      ingress: { packets: sum("ingress", "packets"), bytes: sum("ingress", "bytes") },
    };
  }

  /** Reasons that happened. */
  drops(): DropRow[] {
    const { last } = this;
    if (last === undefined) return [];
    const counts = { NFT_SPOOFED_SOURCE: last.spoofed, NFT_FOREIGN_SOURCE: last.foreign };
    return hostDropRows(counts);
  }
}
