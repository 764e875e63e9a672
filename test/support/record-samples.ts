// One right record of every kind, as the store has them.
import { keyOf } from "../../control/keys.js";
import { defaultConfig } from "../../control/settings.js";

/** A public user NKey that belongs to nobody. */
export const NODE_ID = "UAEK2U5OOLIW7LWS6M5N32H5ODTFSUV732GZW37JAD5PIHAAAGOJUPAX";

/** A public account NKey, and a CA, that are nobody's. */
const SIGNER = "ABZU3UQEM36OJEOEZG2OQSVW7ZIJQZFCU3IEDSIKTKTOJ7JQY7FXHJMK";
const AUTHORITY = `-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
`;

const now = "2026-11-22T00:00:00.000Z";
const nodeFacts = {
  underlay: { addresses: ["192.0.2.1"], interfaceAddresses: ["192.0.2.1/24"], port: 8472 },
  ...{ vtepMac: "0a:00:00:00:00:01", protocols: ["vxlan"], mtu: 1450, version: "0.1.0" },
  ...{ bootId: "boot-1", epoch: 1, capabilities: [] },
};

/** Key and record of each kind; what belongs to a node belongs to this one. */
export function recordSamples(nodeId: string): [string, object][] {
  const lease = {
    ...{ cidr: "10.244.0.0/24", nodeId, epoch: 1, state: "held", since: now, until: null },
  };
  return [
    [keyOf.config(), { ...defaultConfig }],
    [keyOf.heartbeat(), { controllerId: nodeId, time: now }],
    [
      keyOf.member(nodeId),
      {
        ...{ nodeId, name: "n1", key: nodeId, state: "active", role: "node" },
        ...{ podCIDRs: ["10.244.0.0/24", "fd00::/64"], epoch: 1, grantedPrefixes: [] },
        ...{ pptpServer: true, joined: now, tokenId: "00112233445566778899aabbccddeeff" },
        revoked_s: 1_790_000_000,
      },
    ],
    [keyOf.name("n1"), { name: "n1", nodeId }],
    [keyOf.accounts(), { latest: 1_790_000_000_000 }],
    [
      keyOf.admin("anna"),
      {
        ...{ name: "anna", key: nodeId, role: "operator", created: now, createdBy: "admin" },
        ...{ lasts_s: 7_776_000, expires: now, removed: false, formerKeys: [NODE_ID] },
        revoked_s: 1_790_000_000,
      },
    ],
    [
      keyOf.servers(),
      {
        generation: 2,
        servers: [
          { url: "nats://192.0.2.10:4222", routePort: 6222 },
          { url: "tls://[2001:db8::1]:4222", routePort: null },
        ],
      },
    ],
    [keyOf.trust(), { authorities: [AUTHORITY], signers: [SIGNER] }],
    [
      keyOf.user("ada.l"),
      {
        ...{ name: "ada.l", sealed: "AAAA", insecureClear: false, address: "10.244.0.9" },
        ...{ expires: now, disabled: true, created: now, passwordChanged: now },
      },
    ],
    [keyOf.address("10.244.0.9"), { address: "10.244.0.9", user: "ada.l" }],
    [
      keyOf.token("0123456789abcdef0123456789abcdef"),
      {
        ...{ tokenId: "0123456789abcdef0123456789abcdef", bootstrapKey: nodeId, role: "node" },
        ...{ description: "rack 7", created: now, expires: null, usesMax: 3, uses: 1 },
        ...{ usedBy: [nodeId], revoked: false, pptpServer: false },
      },
    ],
    [keyOf.lease("10.244.0.0/24"), lease],
    [keyOf.lease("fd00::/64"), { ...lease, cidr: "fd00::/64" }],
    [keyOf.claim("192.0.2.1", 8472), { address: "192.0.2.1", port: 8472, nodeId }],
    [keyOf.claim("2001:db8::1", 0), { address: "2001:db8::1", port: 0, nodeId }],
    [keyOf.node(nodeId), { nodeId, ...nodeFacts }],
    [
      keyOf.endpoint(nodeId, "p1"),
      { nodeId, pod: "p1", addresses: ["10.244.0.2"], labels: { app: "web" }, identity: 0 },
    ],
    [
      keyOf.peer("router"),
      {
        ...{ name: "router", endpoint: "198.51.100.7", port: 8472, podCIDRs: ["10.250.0.0/24"] },
        ...{ vtepMac: "0a:00:00:00:01:01", protocol: "vxlan", vni: 1 },
      },
    ],
  ];
}
