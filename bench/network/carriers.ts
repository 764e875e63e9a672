// What carries packets between the two hosts, one beside the other on the same wire: each gives the
// server's host an address that leads through it, and the processes that work for it.
import { pings, runSync, until } from "../../test/support/netns.js";
import type { Lab, LabHost } from "./lab.js";
import { WIRE } from "./wire.js";

const KERNEL_DEVICE = "kvx0";
const KERNEL_PORT = "4789";
const KERNEL_VNI = "4242";
const KERNEL_OVERLAY = "198.19.0.";

/** A carrier that is set up. */
export interface Carrier {
  name: CarrierName;
  /** Of the server, through this carrier. */
  address: string;
  /** Daemons of both hosts; none where the kernel does it all. */
  pids: number[];
}

interface Kind {
  title: string;
  setUp(lab: Lab): Omit<Carrier, "name">;
}

function addKernelDevice(own: LabHost, other: LabHost, number: number): void {
  const { namespace } = own;
  const ends = ["remote", other.address, "local", own.address, "dev", WIRE];
  const vxlan = ["type", "vxlan", "id", KERNEL_VNI, "dstport", KERNEL_PORT, ...ends];
  runSync(namespace, ["ip", "link", "add", KERNEL_DEVICE, ...vxlan]);
  const address = `${KERNEL_OVERLAY}${number}/24`;
  runSync(namespace, ["ip", "address", "add", address, "dev", KERNEL_DEVICE]);
  runSync(namespace, ["ip", "link", "set", KERNEL_DEVICE, "up"]);
}

/** In the order of the table's columns. */
export const CARRIERS = {
  raw: {
    title: "raw veth",
    setUp: ({ server }) => ({ address: server.address, pids: [] }),
  },
  vxlan: {
    title: "kernel VXLAN",
    setUp: ({ client, server }) => {
      addKernelDevice(client, server, 1);
      addKernelDevice(server, client, 2);
      return { address: `${KERNEL_OVERLAY}2`, pids: [] };
    },
  },
  meshd: {
    title: "meshd",
    setUp: ({ client, server }) => ({
      address: server.overlay,
      pids: [client.pid, server.pid],
    }),
  },
} as const satisfies Record<string, Kind>;

export type CarrierName = keyof typeof CARRIERS;

/** Sets a carrier up and waits until a ping gets through it. */
export async function openCarrier(lab: Lab, name: CarrierName): Promise<Carrier> {
  const carrier = { name, ...CARRIERS[name].setUp(lab) };
  const answers = () => pings(lab.client.namespace, carrier.address, 56, 1);
  await until(`${carrier.address} answers through ${name}`, answers);
  return carrier;
}
