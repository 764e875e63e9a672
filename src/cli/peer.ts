// meshd peer add | list | remove: static peers, such as a kernel's or a vendor's tunnel device.
import { BlockList, isIPv6 } from "node:net";
import {
  hasFrames,
  hasPort,
  type MeshConfig,
  type PeerProtocol,
  type PeerRecord,
  peerProtocols,
} from "../../control/index.js";
import { checkValue, kinds, label, limits } from "../config/index.js";
import { withAdmin } from "./admin.js";
import { type CommandGroup, type Context, type Invocation, UsageError } from "./command.js";
import { print, tableOr, warningLines } from "./output.js";

const mac = kinds.text("a unicast MAC address such as 02:00:00:00:00:01", (given) =>
  /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(given),
);
const protocol = kinds.oneOf(...peerProtocols);

function peerOf(invocation: Invocation): PeerRecord {
  const cidrs = invocation.list("cidr");
  const spoken = checkValue(protocol, "--protocol", invocation.text("protocol") ?? "vxlan");
  const port = invocation.text("port") ?? limits.DEFAULT_TUNNEL_PORTS[spoken];
  const isFramed = hasFrames(spoken);
  const isUdp = hasPort(spoken);
  for (const option of foreignOptions(spoken)) {
    if (invocation.has(option))
      throw new UsageError(`--${option}: ${spoken} has none; leave it out`);
  }
  needAll(invocation, ["endpoint", "cidr", ...(isFramed ? ["mac"] : [])]);
  const vni = kinds.integer(limits.VNI_MIN, limits.VNI_MAX);
  const greKey = kinds.integer(0, limits.GRE_KEY_MAX);
  const hasMac = isFramed || invocation.has("mac");
  return {
    name: checkValue(label, "NAME", invocation.words[0]),
    endpoint: checkValue(kinds.address, "--endpoint", invocation.text("endpoint")),
    port: isUdp ? checkValue(kinds.integer(1, limits.PORT_MAX), "--port", port) : 0,
    podCIDRs: cidrs.map((cidr) => checkValue(kinds.anyCidr, "--cidr", cidr)),
    vtepMac: hasMac ? checkValue(mac, "--mac", invocation.text("mac") ?? "").toLowerCase() : null,
    protocol: spoken,
    vni: isFramed ? checkValue(vni, "--vni", invocation.text("vni") ?? 1) : null,
    ...(invocation.has("key")
      ? { greKey: checkValue(greKey, "--key", invocation.text("key")) }
      : {}),
  };
}

/** @throws UsageError that names all that is missing */
function needAll(invocation: Invocation, options: readonly string[]): void {
  const missing = options.filter((option) => !invocation.has(option)).map((one) => `--${one}`);
  if (missing.length === 0) return;
  const verb = missing.length === 1 ? "is" : "are";
  throw new UsageError(`${missing.join(", ")} ${verb} missing; see meshd peer add --help`);
}

/** Options that peers of an encapsulation do not have. */
function foreignOptions(spoken: PeerProtocol): string[] {
  const framed = spoken === "gre" ? ["vni"] : ["mac", "vni"];
  return [
    ...(hasFrames(spoken) ? [] : framed),
    ...(hasPort(spoken) ? [] : ["port"]),
    ...(spoken === "gre" ? [] : ["key"]),
  ];
}

/** Networks inside the mesh's pools: allowed (a host that moves from flannel), and worth a word. */
export function insidePools(peer: PeerRecord, config: MeshConfig): string[] {
  const pools = [config.clusterPoolIPv4PodCIDR, config.clusterPoolIPv6PodCIDR];
  return peer.podCIDRs.flatMap((cidr) => {
    const pool = pools.find((one) => one !== null && holds(one, cidr));
    return pool ? [`${cidr} is inside the pool ${pool}: no node gets it from now on`] : [];
  });
}

function holds(pool: string, cidr: string): boolean {
  const [network = "", length] = pool.split("/");
  const family = isIPv6(network) ? "ipv6" : "ipv4";
  const [first = ""] = cidr.split("/");
  if ((isIPv6(first) ? "ipv6" : "ipv4") !== family) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(length), family);
  return list.check(first, family);
}

async function add(invocation: Invocation, context: Context): Promise<undefined> {
  const wanted = peerOf(invocation);
  const { peer, isNew, warnings } = await withAdmin(invocation.settings, async (admin) => {
    const others = await admin.peers.list();
    const isNew = !others.some((other) => other.name === wanted.name);
    const peer = await admin.peers.add(wanted);
    return { peer, isNew, warnings: insidePools(peer, await admin.config.get()) };
  });
  const place = `${peer.podCIDRs.join(" ")} via ${peer.endpoint}`;
  const line = `peer ${peer.name}${isNew ? "" : " replaced"}: ${place}\n`;
  const shown = { ...peer, ...(warnings.length === 0 ? {} : { warnings }) };
  print(invocation, context, shown, () => line + warningLines(warnings));
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const peers = await withAdmin(invocation.settings, (admin) => admin.peers.list());
  print(invocation, context, peers, () =>
    tableOr(
      ["PEER", "ENDPOINT", "PORT", "PROTOCOL", "VNI", "KEY", "VTEP MAC", "CIDRS"],
      peers.map((peer) => [
        peer.name,
        peer.endpoint,
        peer.port || "-",
        peer.protocol,
        peer.vni ?? "-",
        peer.greKey ?? "-",
        peer.vtepMac ?? "-",
        peer.podCIDRs.join(","),
      ]),
      "no static peers",
    ),
  );
}

async function remove(invocation: Invocation, context: Context): Promise<undefined> {
  const [name = ""] = invocation.words;
  await withAdmin(invocation.settings, (admin) => admin.peers.remove(name));
  print(invocation, context, { removed: name }, () => `peer ${name} is removed\n`);
}

export const command: CommandGroup = {
  about: "Static peers: tunnel endpoints that are no meshd, such as a Linux vxlan device.",
  commands: {
    add: {
      usage: "NAME",
      about:
        "Adds a static peer, or replaces the one of that name: every node sends its CIDRs there " +
        "and takes packets from it. The other side needs each node's underlay address, PodCIDR " +
        "and VTEP MAC: see 'meshd node show'.",
      example:
        "meshd peer add rack7 --endpoint 192.0.2.77 --cidr 10.9.0.0/24 --mac 02:00:00:00:00:77",
      options: {
        endpoint: { value: "ADDRESS", about: "its underlay address" },
        cidr: { value: "CIDR", multiple: true, about: "network behind it; may be given again" },
        mac: {
          value: "MAC",
          about: "MAC address of its tunnel device (not with udp, ipip; gre: it is a gretap)",
        },
        port: { value: "PORT", about: "its UDP port (default: 8472, geneve 6081, udp 8285)" },
        protocol: { value: "NAME", about: "vxlan (default), geneve, udp, ipip or gre" },
        vni: { value: "N", about: "network number of vxlan, geneve (default 1)" },
        key: { value: "N", about: "key of its GRE headers (default: the mesh's greKey)" },
      },
      words: [1, 1],
      run: add,
    },
    list: {
      usage: "",
      about: "Lists the static peers.",
      example: "meshd peer list",
      words: [0, 0],
      run: list,
    },
    remove: {
      usage: "NAME",
      about: "Removes a static peer from all nodes.",
      example: "meshd peer remove rack7",
      words: [1, 1],
      run: remove,
    },
  },
};
