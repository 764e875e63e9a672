// The carriers that need no daemon of others: the bare wire, the kernel's VXLAN, and meshd itself.
import { runSync } from "../../test/support/netns.js";
import { always, type Kind } from "./kind.js";
import type { LabHost } from "./lab.js";
import { WIRE } from "./wire.js";

const DEVICE = "kvx0";
const PORT = "4789";
const VNI = "4242";
const OVERLAY = "198.19.0.";

function addDevice(own: LabHost, other: LabHost, number: number): void {
  const { namespace } = own;
  const ends = ["remote", other.address, "local", own.address, "dev", WIRE];
  const vxlan = ["type", "vxlan", "id", VNI, "dstport", PORT, ...ends];
  runSync(namespace, ["ip", "link", "add", DEVICE, ...vxlan]);
  const address = `${OVERLAY}${number}/24`;
  runSync(namespace, ["ip", "address", "add", address, "dev", DEVICE]);
  runSync(namespace, ["ip", "link", "set", DEVICE, "up"]);
}

/** The wire both hosts share, with nothing on top. */
export const raw: Kind = {
  title: "raw veth",
  isAvailable: always,
  setUp: async ({ server }) => ({ address: server.address, pids: [] }),
};

/** Its MTU is the wire's less 50, as meshd's: the kernel takes it from the device below. */
export const kernelVxlan: Kind = {
  title: "kernel VXLAN",
  isAvailable: always,
  setUp: async ({ client, server }) => {
    addDevice(client, server, 1);
    addDevice(server, client, 2);
    return { address: `${OVERLAY}2`, pids: [] };
  },
};

/** The lab's own agents. One entry per tunnel protocol. */
export const meshdOver = (protocol: string): Kind => ({
  title: `meshd ${protocol}`,
  isAvailable: always,
  setUp: async ({ client, server }) => ({
    address: server.overlay,
    pids: [client.pid, server.pid],
  }),
});
