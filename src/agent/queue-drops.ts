// What the kernel dropped because we were slow: at the queue of the mesh's device and at the
// underlay's sockets. The kernel counts both, so no loss is without a name.
import { readFileSync } from "node:fs";
import type { Datapath } from "../datapath/index.js";
import { HOST_DROPS } from "../telemetry/index.js";
import type { DropRow } from "./types.js";

/** Place of "drop" among the transmit columns of /proc/net/dev, counted over the whole line. */
const TRANSMIT_DROPS = 11;

type HostDrop = (typeof HOST_DROPS)[number]["reason"];
type Count = { packets: number; bytes: number };

/** Rows of reasons that happened. */
export function hostDropRows(counts: Partial<Record<HostDrop, Count>>): DropRow[] {
  return HOST_DROPS.flatMap(({ reason, direction }) => {
    const { packets = 0, bytes = 0 } = counts[reason] ?? {};
    return packets === 0 ? [] : [{ reason, direction, packets, bytes }];
  });
}

/** Packets that a device of this network namespace did not take; undefined: there is none. */
export function transmitDrops(table: string, device: string): number | undefined {
  const line = table.split("\n").find((one) => one.trimStart().startsWith(`${device}:`));
  const count = line
    ?.slice(line.indexOf(":") + 1)
    .trim()
    .split(/\s+/)[TRANSMIT_DROPS];
  return count === undefined ? undefined : Number(count);
}

/** Counts from where it is made; a device that is made anew begins anew. */
export class QueueDrops {
  private seen: number;
  private device = 0;

  constructor(
    private readonly deviceName: string,
    private readonly table = () => readFileSync("/proc/self/net/dev", "utf8"),
  ) {
    this.seen = transmitDrops(this.table(), deviceName) ?? 0;
  }

  /** Reads the kernel's counters anew; rows of reasons that happened. */
  rows(datapath: Pick<Datapath, "receiveDrops">): DropRow[] {
    const now = transmitDrops(this.table(), this.deviceName) ?? this.seen;
    this.device += now >= this.seen ? now - this.seen : now;
    this.seen = now;
    return hostDropRows({
      DEVICE_QUEUE_FULL: { packets: this.device, bytes: 0 },
      SOCKET_QUEUE_FULL: { packets: datapath.receiveDrops(), bytes: 0 },
    });
  }
}
