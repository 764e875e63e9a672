// What carries packets between the two hosts, one beside the other on the same wire: each gives the
// server's host an address that leads through it, and the processes that work for it.
import { pings, until } from "../../test/support/netns.js";
import { kernelVxlan, meshdOver, raw } from "./kernel.js";
import type { Kind, Path } from "./kind.js";
import type { Lab } from "./lab.js";
import { fastd } from "./peers/fastd.js";
import { nebula } from "./peers/nebula.js";
import { openvpn } from "./peers/openvpn.js";
import { proxy } from "./peers/proxy.js";
import { tinc } from "./peers/tinc.js";
import { wireguard } from "./peers/wireguard.js";

export type { Kind } from "./kind.js";

/** In the order of the table's columns. */
const TABLE = {
  raw,
  vxlan: kernelVxlan,
  meshd: meshdOver("VXLAN"),
  proxy,
  "wireguard-go": wireguard,
  nebula,
  tinc,
  openvpn,
  fastd,
} satisfies Record<string, Kind>;

export type CarrierName = keyof typeof TABLE;

export const CARRIERS: Readonly<Record<CarrierName, Kind>> = TABLE;

/** A carrier that is set up. */
export interface Carrier extends Path {
  name: CarrierName;
}

/** How long a carrier's daemons may take to find each other. */
const ANSWER_DEADLINE_MS = 20_000;

/** Sets a carrier up and waits until a ping gets through it; nothing is left when that fails. */
export async function openCarrier(lab: Lab, name: CarrierName): Promise<Carrier> {
  const carrier = { name, ...(await CARRIERS[name].setUp(lab)) };
  const answers = () => pings(lab.client.namespace, carrier.address, 56, 1);
  try {
    await until(`${carrier.address} answers through ${name}`, answers, ANSWER_DEADLINE_MS);
  } catch (error) {
    await closeCarrier(lab, carrier);
    throw error;
  }
  return carrier;
}

/** Ends its daemons. What a carrier leaves to the lab goes with the lab. */
export async function closeCarrier(lab: Lab, carrier: Carrier): Promise<void> {
  await CARRIERS[carrier.name].tearDown?.(lab, carrier);
}
