// Connectivity matrix: every pod pings every other, IPv4 and IPv6, small and full-size packets.
import { isIPv6 } from "node:net";
import { mapSome, runIn } from "./program.js";
import type { LabStatus, LabStatusPod } from "./status.js";

const PINGS_AT_ONCE = 12;
const TRIES = 3;
/** IP + ICMP header bytes around a ping's payload. */
const PING_OVERHEAD = { 4: 28, 6: 48 } as const;
const SMALL_PAYLOAD = 56;

export interface Probe {
  from: LabStatusPod;
  to: LabStatusPod;
  address: string;
  family: 4 | 6;
  /** ICMP payload bytes. */
  payload: number;
}

export interface CheckFailure {
  from: string;
  to: string;
  family: 4 | 6;
  packet_bytes: number;
  why: string;
}

export interface CheckReport {
  /** Ordered pod pairs. */
  pairs: number;
  pairsReachable: number;
  probes: number;
  probesAnswered: number;
  families: (4 | 6)[];
  packet_bytes: number[];
  failures: CheckFailure[];
}

function probesOf(from: LabStatusPod, to: LabStatusPod, mtu: number): Probe[] {
  return to.addresses.flatMap((address) => {
    const family = isIPv6(address) ? 6 : 4;
    const payloads = [SMALL_PAYLOAD, mtu - PING_OVERHEAD[family]];
    return payloads.map((payload): Probe => ({ from, to, address, family, payload }));
  });
}

/** Pings once, without fragments; up to three tries, since a check is no loss measurement. */
async function isAnswered(probe: Probe): Promise<string | undefined> {
  const argv = ["ping", "-n", "-q", "-c", "1", "-W", "2", "-M", "do"];
  argv.push("-s", String(probe.payload), probe.address);
  let said = "";
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const outcome = await runIn(probe.from.namespace, argv, 10_000);
    if (outcome.code === 0) return undefined;
    said = (outcome.stderr || outcome.stdout).trim().split("\n").at(-1) ?? "";
  }
  return said === "" ? "no answer" : said;
}

/** Pings all ordered pod pairs of a running lab; `mtu` = inner bytes a full-size packet has. */
export async function checkPods(lab: LabStatus, mtu: number): Promise<CheckReport> {
  const pods = lab.nodes.flatMap((node) => node.pods);
  const pairs = pods.flatMap((from) =>
    pods.filter((to) => to !== from).map((to) => ({ from, to })),
  );
  const probes = pairs.flatMap(({ from, to }) => probesOf(from, to, mtu));
  const said = await mapSome(probes, PINGS_AT_ONCE, isAnswered);
  const failures = probes.flatMap((probe, index): CheckFailure[] => {
    const why = said[index];
    if (why === undefined) return [];
    const bytes = probe.payload + PING_OVERHEAD[probe.family];
    const names = { from: probe.from.namespace, to: probe.to.namespace };
    return [{ ...names, family: probe.family, packet_bytes: bytes, why }];
  });
  const failed = new Set(failures.map((failure) => `${failure.from} ${failure.to}`));
  const unaddressed = pairs.filter(({ to }) => to.addresses.length === 0).length;
  return {
    pairs: pairs.length,
    pairsReachable: pairs.length - failed.size - unaddressed,
    probes: probes.length,
    probesAnswered: probes.length - failures.length,
    families: [...new Set(probes.map((probe) => probe.family))].sort(),
    packet_bytes: [...new Set(probes.map((p) => p.payload + PING_OVERHEAD[p.family]))].sort(
      (a, b) => a - b,
    ),
    failures,
  };
}
