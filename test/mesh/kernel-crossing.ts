// Introduces a Debian kernel to a mesh by `meshd peer add`, one encapsulation after the other, and
// sends pings and streams across; tshark judges what the kernel's wire carried.
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { checkPing, checkTcp, DIRECTIONS } from "../interop/traffic.js";
import type { KernelPeer } from "../peers/index.js";
import { Capture, wrongFrames } from "../support/capture.js";
import { until } from "../support/netns.js";
import { devicesOf, KERNEL, type KernelSide, type Remote } from "./kernel-sides.js";
import type { MeshLab, Place } from "./mesh-lab.js";

const TCP_BYTES = 2_000_000;

/** A node as this test sees it: where its agent is asked, its pod, how the kernel reaches it. */
export interface CrossingNode {
  place: Place;
  pod: { namespace: string; address: Record<4 | 6, string> };
  remote: Remote;
}

/** The kernel under the name that the mesh is to know it by, and its wire on the lab's bridge. */
export interface CrossingKernel {
  guest: KernelPeer;
  name: string;
  underlay: string;
  tap: string;
  /** Bytes of the largest inner packet to send. */
  full: number;
}

/** Pings of all nodes' pods, and streams with the first one's, the last family inside. */
async function exchange(
  side: KernelSide,
  nodes: readonly CrossingNode[],
  { guest, full }: CrossingKernel,
  capture: Capture,
): Promise<void> {
  for (const inner of side.inner) {
    for (const { pod } of nodes) {
      const address = { node: pod.address[inner], kernel: KERNEL.overlay[inner] };
      const sizes = { mtu: full, tcpBytes: TCP_BYTES };
      const connected = { guest, namespace: pod.namespace, inner, address, capture, ...sizes };
      const hasStreams = pod === nodes[0]?.pod && inner === side.inner.at(-1);
      for (const direction of DIRECTIONS) {
        await checkPing(connected, direction);
        if (hasStreams) await checkTcp(connected, direction);
      }
    }
  }
}

/** Makes the devices and introduces the kernel so; a peer that is there already is replaced. */
async function withSide(
  lab: MeshLab,
  side: KernelSide,
  nodes: readonly CrossingNode[],
  kernel: CrossingKernel,
  body: () => Promise<void>,
): Promise<void> {
  const { guest, name, underlay } = kernel;
  const each = nodes.flatMap(({ remote }) => side.each(remote, underlay));
  const made = [...(side.once?.(underlay) ?? []), ...each];
  const cidrs = side.inner.flatMap((family) => ["--cidr", KERNEL.cidrs[family]]);
  await guest.sh([...made, ""].join("\n"));
  const what = ["--protocol", side.protocol, ...side.words];
  lab.admin("peer", "add", name, "--endpoint", underlay, ...cidrs, ...what);
  for (const { place } of nodes) {
    await until(`${place.namespace}: ${side.title} answers`, () => {
      const { peers } = lab.ask<AgentStatus>(place, ["status"]);
      const found = peers.find((one) => one.name === name);
      return found?.protocol === side.protocol && found.reachable === "reachable";
    });
  }
  await body();
  const gone = [...devicesOf(made).map((device) => `ip link del ${device}`), ...(side.undo ?? [])];
  await guest.sh([...gone, ""].join("\n"));
}

/** Pods and kernel reach each other by that encapsulation; every frame is as it ought to be. */
export async function crossKernel(
  lab: MeshLab,
  side: KernelSide,
  nodes: readonly CrossingNode[],
  kernel: CrossingKernel,
): Promise<void> {
  const capture = new Capture(lab.networkSpace, kernel.tap, side.captured);
  try {
    await capture.started();
    await withSide(lab, side, nodes, kernel, () => exchange(side, nodes, kernel, capture));
    await capture.stop();
    const underlay = [kernel.underlay, ...nodes.map(({ remote }) => remote.underlay)];
    const wrong = wrongFrames(...underlay);
    const [right = 0, faulty] = capture.counts([`${side.decoded} && tcp`, wrong]);
    const least = (2 * TCP_BYTES) / 2000;
    assert.ok(right > least, `${right} frames are what they ought to be`);
    capture.assertNone([wrong], [faulty]);
  } finally {
    capture.remove();
  }
}
