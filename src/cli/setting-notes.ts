// What an administrator is told beside a setting that was taken: that it has no effect as the mesh
// is set, or that it alone cuts off peers.
import { hasFrames, hasPort, type MeshConfig } from "../../control/index.js";
import { INSECURE } from "../pptp/index.js";

type Rule = (config: MeshConfig) => string | null;

const onlyWith =
  (what: string, carries: (protocol: string) => boolean): Rule =>
  ({ tunnelProtocol }) =>
    carries(tunnelProtocol) ? null : `no effect with tunnelProtocol ${tunnelProtocol}: ${what}`;

const inUdp = (what: string) => onlyWith(`${what} is of vxlan, geneve and udp`, hasPort);
const inGre = (what: string) =>
  onlyWith(`${what} is of gre (static peers of gre have it, too)`, (name) => name === "gre");

const onlyNative: Rule = ({ routingMode }) =>
  routingMode === "native" ? null : `no effect with routingMode ${routingMode}, until it is native`;

const onlyTunnel: Rule = ({ routingMode }) =>
  routingMode === "tunnel" ? null : "no effect with routingMode native, until it is tunnel";

/** Under native routing a peer needs a kernel route of ours, or an underlay that routes it. */
const nativeWays: Rule = (config) => {
  const { routingMode, autoDirectNodeRoutes: isAuto } = config;
  const isRouted = config.ipv4NativeRoutingCIDR !== null || config.ipv6NativeRoutingCIDR !== null;
  if (routingMode !== "native" || isRouted) return null;
  if (isAuto) {
    return (
      "nodes on other subnets are not reached like this: 'meshd status' names them; they need " +
      "ipv4NativeRoutingCIDR and ipv6NativeRoutingCIDR, or routingMode tunnel with crossSubnet"
    );
  }
  return (
    "pods of different nodes do not reach each other like this: nobody routes their packets; set " +
    "autoDirectNodeRoutes true (nodes on one subnet), or ipv4NativeRoutingCIDR and " +
    "ipv6NativeRoutingCIDR to networks that the underlay routes"
  );
};

/** Whatever of PPTP is set: what it is worth. */
const worthLittle: Rule = () => INSECURE;

/** MPPE's keys come of MS-CHAP alone. */
const somebodyMay: Rule = ({ pptpAuth, pptpEncryption }) => {
  const isRequired = pptpEncryption === "required" || pptpEncryption === "required-128";
  if (!isRequired || pptpAuth.some((method) => method.startsWith("ms-chap"))) return null;
  const both = `pptpEncryption ${pptpEncryption} and pptpAuth ${pptpAuth.join(",")}`;
  return (
    `nobody can dial in with ${both}, which gives no key: ` +
    "let ms-chap-v2 be one of pptpAuth, or set pptpEncryption off"
  );
};

const RULES: Partial<Record<keyof MeshConfig, Rule[]>> = {
  tunnelPort: [inUdp("a port")],
  udpChecksum: [inUdp("a UDP checksum")],
  vni: [onlyWith("a network number is of vxlan and geneve", hasFrames)],
  greKey: [inGre("a key")],
  greChecksum: [inGre("its checksum")],
  greSequence: [inGre("a sequence number")],
  encapMode: [onlyTunnel],
  tunnelProtocol: [
    ({ routingMode }) =>
      routingMode === "tunnel" ? null : "between nodes no effect with routingMode native",
    ({ tunnelProtocol }) => (tunnelProtocol === "pptp" ? INSECURE : null),
  ],
  pptpAuth: [worthLittle, somebodyMay],
  pptpEncryption: [worthLittle, somebodyMay],
  pptpStateful: [worthLittle],
  routingMode: [nativeWays],
  autoDirectNodeRoutes: [onlyNative, nativeWays],
  ipv4NativeRoutingCIDR: [onlyNative, nativeWays],
  ipv6NativeRoutingCIDR: [onlyNative, nativeWays],
};

/** Lines for a setting as it is now in the mesh; none when it does what its name says. */
export function settingNotes(name: keyof MeshConfig, config: MeshConfig): string[] {
  const lines = (RULES[name] ?? []).map((rule) => rule(config));
  return lines.filter((line) => line !== null).map((line) => `${name}: ${line}`);
}
