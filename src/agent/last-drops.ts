// The last dropped datagram of each reason, with what the plan knows of its sender.
import type { Datapath, DropRecord, TablePeer } from "../datapath/index.js";
import type { Engine } from "./engine.js";
import type { DropRow, LastDrop } from "./types.js";

/** Where the network number of a peer's packets is their sender's security identity. */
function identityOf({ vni }: DropRecord, entry: TablePeer | undefined): Partial<LastDrop> {
  return entry?.identities?.receives === true ? { vni: null, identity: vni } : {};
}

function lastDrop(record: DropRecord, engine: Engine, now_us: number): LastDrop {
  const { protocol, from, length, vni, source, destination, time_us } = record;
  const { tables, peers } = engine.plan();
  const index = peers.findIndex(({ address }) => address === from);
  return {
    age_ms: Math.max(0, Math.round((now_us - time_us) / 1000)),
    ...{ protocol, from, peer: peers[index]?.name ?? null, length },
    ...{ vni, identity: null, ...identityOf(record, tables?.peers[index]) },
    ...{ source, destination },
  };
}

/** Adds to each reason of what came from the underlay the last datagram that it ended. */
export function withLastDrops(
  rows: readonly DropRow[],
  datapath: Datapath,
  engine: Engine,
): DropRow[] {
  const now_us = Number(process.hrtime.bigint() / 1000n);
  const records = new Map(datapath.dropRecords().map((record) => [record.reason, record]));
  return rows.map((row) => {
    const record = records.get(row.reason as DropRecord["reason"]);
    if (row.direction !== "ingress" || record === undefined) return row;
    return { ...row, last: lastDrop(record, engine, now_us) };
  });
}
