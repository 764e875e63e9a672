// A mesh whose nodes call each other: tunnelProtocol pptp, judged by tshark, also with loss,
// reordering and duplicates between its nodes. Insecure by today's standards.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { CheckReport, LabWire } from "../../src/lab/index.js";
import { MeshLab } from "../mesh/mesh-lab.js";
import { Capture, plainWire, wrongFrames } from "../support/capture.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { rootTest } from "../support/root.js";

const test = suite("interop: a mesh of PPTP");
const lab = new MeshLab("pm");
const NODES = ["n1", "n2", "n3"];
const STREAMS = 4;
const STREAM_BYTES = 2_500_000;
/** tshark: what opens a call, and IP in encrypted packets. */
const PARTS = ["pptp", "lcp", "chap", "ccp", "comp_data"];

test.after(() => lab.remove());

function checkAll(): void {
  const report = JSON.parse(lab.lab("check", "--json").stdout) as CheckReport;
  assert.equal(report.failures, []);
  assert.equal([report.pairsReachable, report.families], [6, [4, 6]]);
}

rootTest(
  test,
  "three nodes with tunnelProtocol pptp carry the lab check, nothing in clear",
  async () => {
    lab.up("--nodes", "3", "--pods", "1", "--encap", "pptp");
    // What tcpdump sees on the bridge is what a real wire carries.
    for (const node of NODES) plainWire(lab.node(node).namespace, "eth0");
    await lab.untilReachable(...NODES);
    const filter = "tcp port 1723 or ip proto 47";
    const capture = new Capture(lab.networkSpace, "n1", filter);
    await capture.started();
    // A call of its own from the first frame on.
    lab.ask("n1", ["down", "--agent"]);
    lab.ask("n1", ["join"]);
    await lab.untilReachable(...NODES);
    checkAll();
    await capture.stop();
    const stacks = [...capture.stacks()].map((stack) => stack.split(":"));
    for (const part of PARTS)
      assert.ok(
        stacks.some((stack) => stack.includes(part)),
        part,
      );
    const insides = stacks.filter((stack) => stack.includes("gre")).map((stack) => stack.slice(4));
    const clear = insides.filter((inside) => inside.includes("ip") || inside.includes("ipv6"));
    assert.equal(clear, [], "no packet in clear");
    assert.equal(capture.frames(wrongFrames("192.168.77.1", "192.168.77.2", "192.168.77.3")), []);
    capture.remove();
  },
);

rootTest(
  test,
  "with loss, reordering and duplicates the check holds and 20 MB come intact",
  async () => {
    const faults = ["--loss", "1%", "--reorder", "5%", "--duplicate", "1%", "--seed", "20261122"];
    assert.is(lab.lab("impair", "n1", ...faults).code, 0);
    checkAll();
    const path = {
      from: lab.podSpace("n1", "p1"),
      to: lab.podSpace("n2", "p1"),
      address: lab.address("n2", "p1", 4),
    };
    const back = { from: path.to, to: path.from, address: lab.address("n1", "p1", 6) };
    const results = await Promise.all(
      [path, back].map((one) => hashedStreams(one, STREAMS, STREAM_BYTES)),
    );
    for (const { sent, received } of results) {
      const hashes = (ends: typeof sent) => ends.map(({ sha256 }) => sha256).sort();
      assert.equal(hashes(received), hashes(sent));
    }
    const [wire] = JSON.parse(lab.lab("impair", "--json").stdout) as LabWire[];
    assert.ok((wire?.toNode.lost ?? 0) > 50 && (wire?.fromNode.lost ?? 0) > 50);
    await lab.untilReachable(...NODES);
  },
);

test.run();
