// A lab of two nodes for each encapsulation that can be set, as a user brings it up: all pods reach
// each other with small and full packets, and TCP is whole.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { builtProtocols } from "../../control/index.js";
import type { AgentStatus } from "../../src/agent/index.js";
import type { CheckReport } from "../../src/lab/index.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { MeshLab, unexpectedDrops } from "./mesh-lab.js";

const test = suite("encapsulations");
const STREAM_BYTES = 50 << 20;
const UNDERLAY_MTU = 1500;
/** Bytes before the inner packet over IPv4, and the IP protocols of raw sockets. */
const EXPECTED: Readonly<Record<string, { overhead: number; ipProtocols: number[] }>> = {
  vxlan: { overhead: 50, ipProtocols: [] },
  geneve: { overhead: 50, ipProtocols: [] },
  udp: { overhead: 28, ipProtocols: [] },
  ipip: { overhead: 20, ipProtocols: [4, 41] },
  gre: { overhead: 24, ipProtocols: [47] },
  pptp: { overhead: 44, ipProtocols: [47] },
};

/** IP protocols of the raw sockets that a namespace has open. */
function rawProtocols(namespace: string): number[] {
  const lines = runSync(namespace, ["cat", "/proc/net/raw"]).split("\n");
  // sl, local address:protocol in hexadecimal, ...
  const protocols = lines.flatMap(
    (line) => /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /.exec(line)?.[1] ?? [],
  );
  return [...new Set(protocols.map((hex) => Number.parseInt(hex, 16)))].sort((a, b) => a - b);
}

async function assertWhole(lab: MeshLab, family: 4 | 6): Promise<void> {
  const path = { from: lab.podSpace("n1", "p1"), to: lab.podSpace("n2", "p1") };
  const address = lab.address("n2", "p1", family);
  const { sent, received } = await hashedStreams({ ...path, address }, 1, STREAM_BYTES);
  assert.equal(received, sent, `IPv${family}`);
}

/** An interface that joins datagrams inside raw packets is worth a warning. */
async function assertJoiningIsSaid(lab: MeshLab): Promise<void> {
  const { namespace } = lab.node("n1");
  // A running agent looks at its host twice a minute at most.
  process.kill(lab.agent("n1").pid, "SIGKILL");
  runSync(namespace, ["ethtool", "-K", "eth0", "rx-udp-gro-forwarding", "on"]);
  const isSaid = ({ warnings }: AgentStatus) =>
    warnings.some((line) => line.startsWith("eth0: rx-udp-gro-forwarding"));
  lab.up();
  await lab.untilAgent("n1", "it is warned of", isSaid);
}

for (const protocol of builtProtocols) {
  rootTest(test, `lab up --encap ${protocol}: IPv4 and IPv6, full packets, TCP`, async () => {
    const { overhead, ipProtocols } = EXPECTED[protocol] ?? { overhead: 0, ipProtocols: [] };
    const lab = new MeshLab(`e${protocol.slice(0, 2)}`);
    try {
      lab.up("--nodes", "2", "--pods", "1", "--encap", protocol);
      const report = JSON.parse(lab.lab("check", "--json").stdout) as CheckReport;
      assert.equal(report.failures, []);
      assert.equal([report.pairs, report.pairsReachable], [2, 2]);
      const mtu = UNDERLAY_MTU - overhead;
      assert.ok(report.packet_bytes.includes(mtu), `full packets: ${report.packet_bytes}`);
      for (const family of [4, 6] as const) await assertWhole(lab, family);
      await lab.untilReachable("n1", "n2");
      for (const name of ["n1", "n2"]) {
        const status = lab.agent(name);
        assert.equal([status.tunnelProtocol, status.mtu, status.warnings], [protocol, mtu, []]);
        assert.equal(status.raw?.ipProtocols ?? [], ipProtocols);
        assert.equal(rawProtocols(lab.node(name).namespace), ipProtocols);
        assert.equal(unexpectedDrops(lab.drops(name)), []);
      }
      if (protocol === "ipip") await assertJoiningIsSaid(lab);
    } finally {
      lab.remove();
    }
  });
}

test.run();
