// The demo: a lab of three hosts from nothing to pinging pods and moving data, and down again.

import { type ChildProcess, spawn } from "node:child_process";
import { type CheckReport, checkPods } from "./check.js";
import { LabError } from "./error.js";
import { type LabWish, labDown, labUp } from "./lifecycle.js";
import { inNamespace, meshd, runIn } from "./program.js";
import { findLab, type LabStatus, type LabStatusPod, labMtu, labStatus } from "./status.js";
import type { LabRoots } from "./store.js";

const SECONDS = 3;
const PORT = 5201;

export type Say = (line: string) => void;

interface Transfer {
  gbit_s: number;
  retransmits: number;
}

/** Parts of `iperf3 -J` that are read here. */
interface IperfReport {
  error?: string;
  end?: { sum_received?: { bits_per_second?: number }; sum_sent?: { retransmits?: number } };
}

function serverReady(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    server.stdout?.on("data", (bytes: Buffer) => {
      if (bytes.toString().includes("listening")) resolve();
    });
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`iperf3 -s ended with ${code}`)));
  });
}

/** Moves TCP from one pod to another for some seconds. @throws LabError MESHD_LAB_TRANSFER */
async function transfer(from: LabStatusPod, to: LabStatusPod): Promise<Transfer> {
  const argv = ["iperf3", "-s", "-1", "-p", String(PORT), "--forceflush"];
  const [file = "", ...rest] = inNamespace(to.namespace, argv);
  const server = spawn(file, rest, { stdio: ["ignore", "pipe", "ignore"] });
  try {
    await serverReady(server);
    const client = ["iperf3", "-c", to.addresses[0] ?? "", "-p", String(PORT), "-J"];
    const outcome = await runIn(from.namespace, [...client, "-t", String(SECONDS)]);
    const report = JSON.parse(outcome.stdout) as IperfReport;
    const bits = report.end?.sum_received?.bits_per_second ?? 0;
    if (report.error !== undefined || bits === 0) {
      const why = report.error ?? "no bytes arrived";
      throw new LabError("MESHD_LAB_TRANSFER", `TCP between two pods failed: ${why}`);
    }
    const retransmits = report.end?.sum_sent?.retransmits ?? 0;
    return { gbit_s: bits / 1e9, retransmits };
  } finally {
    server.removeAllListeners("exit");
    server.kill();
  }
}

function sayCheck(report: CheckReport, say: Say): void {
  const sizes = report.packet_bytes.join(", ");
  const families = report.families.map((family) => `IPv${family}`).join(" and ");
  say(`  ${report.pairsReachable} of ${report.pairs} ordered pod pairs reachable`);
  say(`  ${report.probesAnswered} of ${report.probes} pings: ${families}, ${sizes} bytes`);
  for (const failure of report.failures) {
    say(`  no: ${failure.from} -> ${failure.to} IPv${failure.family} (${failure.why})`);
  }
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
}

async function show(roots: LabRoots, lab: LabStatus, say: Say): Promise<void> {
  const plan = findLab(roots, lab.name);
  const node = plan.nodes[0];
  if (node === undefined) return;
  for (const [title, place, argv] of [
    ["status of node n1 (meshd status)", node, ["status"]],
    ["leases (meshd lease list)", plan.control, ["lease", "list"]],
    ["routes (meshd route list)", plan.control, ["route", "list"]],
  ] as const) {
    say(`\n${title}`);
    say(indented(await meshd(place, [...argv])));
  }
}

async function demonstrate(roots: LabRoots, wish: LabWish, say: Say): Promise<boolean> {
  say("meshd demo: hosts of a mesh, made from nothing; VXLAN through WebAssembly\n");
  await labUp(roots, wish, (step) => say(`  up: ${step}`));
  const lab = await labStatus(roots, wish.name);
  for (const node of lab.nodes) {
    say(`  ${node.name}: underlay ${node.underlay}, PodCIDRs ${node.podCIDRs.join(" and ")}`);
  }
  say("\nevery pod pings every other");
  const report = await checkPods(lab, await labMtu(roots, wish.name));
  sayCheck(report, say);
  const from = lab.nodes[0]?.pods[0];
  const to = lab.nodes[1]?.pods[0];
  if (from === undefined || to === undefined) throw new LabError("MESHD_LAB_SHAPE", "no pods");
  say(`\nTCP from ${from.namespace} to ${to.namespace} for ${SECONDS} s`);
  const moved = await transfer(from, to);
  await show(roots, lab, say);
  say(`\nthroughput: ${moved.gbit_s.toFixed(2)} Gbit/s TCP, one stream, pod to pod`);
  say(`reachable: ${report.pairsReachable} of ${report.pairs} ordered pod pairs`);
  return report.failures.length === 0;
}

/**
 * Runs the demo and takes everything down, also after a failure or Ctrl-C.
 * @returns whether every pod reached every other.
 */
export async function runDemo(roots: LabRoots, wish: LabWish, say: Say): Promise<boolean> {
  const began = Date.now();
  let down: Promise<void> | undefined;
  const takeDown = () => {
    down ??= labDown(roots, wish.name, (step) => say(`  down: ${step}`)).catch((error) => {
      // A mesh that could not begin has taken its lab down itself.
      if (!(error instanceof LabError && error.code === "MESHD_LAB_NOT_FOUND")) throw error;
    });
    return down;
  };
  const interrupted = () => void takeDown().finally(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  try {
    return await demonstrate(roots, wish, say);
  } finally {
    say("");
    await takeDown();
    say(`done in ${((Date.now() - began) / 1000).toFixed(0)} s; nothing is left behind`);
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
  }
}
