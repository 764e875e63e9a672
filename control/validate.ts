// One validator per record kind: any JSON value in, the record or a Refused out. Used on every
// read, never skipped.
import { hasFrames, hasPort, type PeerProtocol, peerProtocols } from "./built.js";
import * as check from "./check.js";
import { type Fields, fieldsOf, Refused, refuse } from "./check.js";
import { parsePrefix, prefixHolds } from "./cidr.js";
import { form } from "./forms.js";
import { keyOf, type RecordKind } from "./keys.js";
import { isPublicKey } from "./nats/index.js";
import type {
  AccountsRecord,
  AddressRecord,
  AdminRecord,
  BeatRecord,
  ClaimRecord,
  EndpointRecord,
  LeaseRecord,
  MemberRecord,
  NameRecord,
  NodeRecord,
  PeerRecord,
  ServersRecord,
  TokenRecord,
  TrustRecord,
  UserRecord,
} from "./records.js";
import { FORMS_MAX } from "./records.js";
import { adminRoles } from "./roles.js";
import { completeConfig } from "./setting-rules.js";
import type { MeshConfig } from "./settings.js";
import { pemBlocks } from "./tls/index.js";

const epoch_max = Number.MAX_SAFE_INTEGER;
const memberStates = ["active", "draining", "removed"] as const;
const leaseStates = ["held", "quarantined", "reserved"] as const;

export interface RecordOfKind {
  config: MeshConfig;
  heartbeat: BeatRecord;
  members: MemberRecord;
  names: NameRecord;
  leases: LeaseRecord;
  claims: ClaimRecord;
  nodes: NodeRecord;
  endpoints: EndpointRecord;
  peers: PeerRecord;
  tokens: TokenRecord;
  admins: AdminRecord;
  accounts: AccountsRecord;
  servers: ServersRecord;
  trust: TrustRecord;
  users: UserRecord;
  addresses: AddressRecord;
}

function member(fields: Fields): MemberRecord {
  const nodeId = check.userKey(fields, "nodeId");
  const key = check.userKey(fields, "key");
  if (key !== nodeId) refuse("key", key, "the nodeId");
  return {
    nodeId,
    name: check.label(fields, "name"),
    key,
    state: check.choice(fields, "state", memberStates),
    role: check.label(fields, "role"),
    podCIDRs: check.list(fields, "podCIDRs", 8, check.prefix),
    epoch: check.whole(fields, "epoch", 0, epoch_max),
    grantedPrefixes: check.list(fields, "grantedPrefixes", 256, check.prefix),
    ...pptpServer(fields),
    joined: check.time(fields, "joined"),
    ...(fields.tokenId === undefined ? {} : { tokenId: check.tokenId(fields, "tokenId") }),
    ...revoked(fields),
    signature: "",
  };
}

/** Controllers of earlier versions do not write it. */
function pptpServer(fields: Fields): { pptpServer?: boolean } {
  if (fields.pptpServer === undefined) return {};
  return { pptpServer: check.flag(fields, "pptpServer") };
}

/** Controllers of earlier versions do not write it. */
function revoked(fields: Fields): { revoked_s?: number } {
  if (fields.revoked_s === undefined) return {};
  return { revoked_s: check.whole(fields, "revoked_s", 0, Number.MAX_SAFE_INTEGER) };
}

function lease(fields: Fields): LeaseRecord {
  const state = check.choice(fields, "state", leaseStates);
  const nodeId = check.nullable(fields, "nodeId", check.userKey);
  const until = check.nullable(fields, "until", check.time);
  if (state === "held" && nodeId === null) refuse("nodeId", null, "the holder of a held lease");
  if ((state === "quarantined") !== (until !== null)) {
    refuse("until", until, "set exactly when quarantined");
  }
  return {
    cidr: check.prefix(fields, "cidr"),
    nodeId,
    epoch: check.whole(fields, "epoch", 0, epoch_max),
    state,
    since: check.time(fields, "since"),
    until,
    signature: "",
  };
}

function name(fields: Fields): NameRecord {
  return { name: check.label(fields, "name"), nodeId: check.userKey(fields, "nodeId") };
}

function claim(fields: Fields): ClaimRecord {
  return {
    address: check.address(fields, "address"),
    port: check.whole(fields, "port", 0, 65_535),
    nodeId: check.userKey(fields, "nodeId"),
  };
}

function node(fields: Fields): NodeRecord {
  const underlay = fieldsOf(fields.underlay, "underlay");
  const addresses = check.list(underlay, "addresses", 16, check.address);
  if (addresses.length === 0) refuse("underlay.addresses", addresses, "at least one address");
  return {
    nodeId: check.userKey(fields, "nodeId"),
    underlay: {
      addresses,
      interfaceAddresses: interfaceAddresses(underlay),
      port: check.whole(underlay, "port", 0, 65_535),
    },
    vtepMac: check.mac(fields, "vtepMac"),
    protocols: check.list(fields, "protocols", 16, check.words(32)),
    ...forms(fields, "receives"),
    ...forms(fields, "sends"),
    mtu: check.whole(fields, "mtu", 576, 65_535),
    version: check.text(fields, "version", 64),
    bootId: check.text(fields, "bootId", 64),
    epoch: check.whole(fields, "epoch", 0, epoch_max),
    capabilities: check.list(fields, "capabilities", 64, check.words(64)),
  };
}

/** Nodes of earlier versions do not write it. */
function interfaceAddresses(underlay: Fields): string[] {
  if (underlay.interfaceAddresses === undefined) return [];
  return check.list(underlay, "interfaceAddresses", 16, check.interfaceAddress);
}

/** Nodes of earlier versions do not write them. */
function forms(fields: Fields, name: "receives" | "sends"): Pick<NodeRecord, typeof name> {
  if (fields[name] === undefined) return {};
  return { [name]: check.list(fields, name, FORMS_MAX, form) };
}

function endpoint(fields: Fields): EndpointRecord {
  const labels = Object.entries(fieldsOf(fields.labels, "labels"));
  if (labels.length > 64) refuse("labels", labels.length, "at most 64 labels");
  for (const [key, value] of labels) {
    if (!/^[A-Za-z0-9]([A-Za-z0-9._/-]{0,126})$/.test(key)) refuse("label", key, "a label name");
    if (typeof value !== "string" || value.length > 128) refuse(key, value, "a label value");
  }
  return {
    nodeId: check.userKey(fields, "nodeId"),
    pod: check.label(fields, "pod"),
    addresses: check.list(fields, "addresses", 8, check.address),
    labels: Object.fromEntries(labels) as Record<string, string>,
    identity: check.whole(fields, "identity", 0, 0xffff_ffff),
  };
}

/** Port of an encapsulation that has none. */
function noPort(fields: Fields): number {
  return check.whole(fields, "port", 0, 0);
}

/** Also used for what an administrator asks for. */
export function peer(fields: Fields): PeerRecord {
  const podCIDRs = check.list(fields, "podCIDRs", 1024, check.prefix);
  const endpointAddress = check.address(fields, "endpoint");
  for (const cidr of podCIDRs) {
    const parsed = parsePrefix(cidr);
    if (parsed && prefixHolds(parsed, endpointAddress)) {
      refuse("endpoint", endpointAddress, `outside its own prefix ${cidr}`);
    }
  }
  const protocol = check.choice(fields, "protocol", peerProtocols);
  const isFramed = hasFrames(protocol);
  return {
    name: check.label(fields, "name"),
    endpoint: endpointAddress,
    port: hasPort(protocol) ? check.whole(fields, "port", 1, 65_535) : noPort(fields),
    podCIDRs,
    vtepMac: isFramed ? check.mac(fields, "vtepMac") : bridgeMac(fields, protocol),
    protocol,
    vni: isFramed ? check.whole(fields, "vni", 1, 0xff_ffff) : null,
    ...greKey(fields, protocol),
  };
}

/** GRE carries frames to the peers alone that have a MAC address. */
function bridgeMac(fields: Fields, protocol: PeerProtocol): string | null {
  return protocol === "gre" ? check.nullable(fields, "vtepMac", check.mac) : null;
}

function greKey(fields: Fields, protocol: PeerProtocol): Pick<PeerRecord, "greKey"> {
  const isGiven = fields.greKey !== undefined && fields.greKey !== null;
  if (protocol !== "gre" || !isGiven) return {};
  return { greKey: check.whole(fields, "greKey", 0, 0xffff_ffff) };
}

function beat(fields: Fields): BeatRecord {
  return { controllerId: check.userKey(fields, "controllerId"), time: check.time(fields, "time") };
}

function token(fields: Fields): TokenRecord {
  const count = (all: Fields, key: string) => check.whole(all, key, 1, 1_000_000);
  return {
    tokenId: check.text(fields, "tokenId", 32),
    bootstrapKey: check.userKey(fields, "bootstrapKey"),
    description: check.text(fields, "description", 256),
    role: check.label(fields, "role"),
    created: check.time(fields, "created"),
    expires: check.nullable(fields, "expires", check.time),
    usesMax: check.nullable(fields, "usesMax", count),
    uses: check.whole(fields, "uses", 0, 1_000_000_000),
    usedBy: check.list(fields, "usedBy", 640, check.userKey),
    revoked: check.flag(fields, "revoked"),
    ...pptpServer(fields),
  };
}

/** Keys of one name that are remembered as removed. */
export const formerKeys_max = 64;

function admin(fields: Fields): AdminRecord {
  const seconds = (all: Fields, key: string) => check.whole(all, key, 1, 1_000_000_000);
  return {
    name: check.label(fields, "name"),
    key: check.userKey(fields, "key"),
    role: check.choice(fields, "role", adminRoles),
    created: check.time(fields, "created"),
    createdBy: check.text(fields, "createdBy", 63),
    lasts_s: check.nullable(fields, "lasts_s", seconds),
    expires: check.nullable(fields, "expires", check.time),
    removed: check.flag(fields, "removed"),
    ...revoked(fields),
    formerKeys: check.list(fields, "formerKeys", formerKeys_max, check.userKey),
  };
}

function accounts(fields: Fields): AccountsRecord {
  return { latest: check.whole(fields, "latest", 0, Number.MAX_SAFE_INTEGER) };
}

function servers(fields: Fields): ServersRecord {
  const place = (among: Fields, at: string) => {
    const one = fieldsOf(among[at], at);
    const routePort = check.nullable(one, "routePort", (all, name) =>
      check.whole(all, name, 1, 65_535),
    );
    return { url: check.natsUrl(one, "url"), routePort };
  };
  return {
    generation: check.whole(fields, "generation", 0, Number.MAX_SAFE_INTEGER),
    servers: check.list(fields, "servers", 16, place),
  };
}

function trust(fields: Fields): TrustRecord {
  const signer = (all: Fields, at: string) => {
    const key = all[at];
    return isPublicKey(key, "A") ? key : refuse(at, key, "a public key of an account");
  };
  const signers = check.list(fields, "signers", trusted_max, signer);
  if (signers.length === 0) refuse("signers", signers, "at least one key");
  return { authorities: check.list(fields, "authorities", trusted_max, authority), signers };
}

/** Old and new ones of a change, and of one that was given up half-way. */
const trusted_max = 4;

function authority(fields: Fields, at: string): string {
  const pem = check.text(fields, at, 8_192);
  const [block, ...more] = pemBlocks(pem);
  return block === pem && more.length === 0 ? pem : refuse(at, pem.slice(0, 40), "a certificate");
}

function user(fields: Fields): UserRecord {
  return {
    name: check.userName(fields, "name"),
    sealed: check.text(fields, "sealed", 4_096),
    insecureClear: check.flag(fields, "insecureClear"),
    address: check.nullable(fields, "address", check.address4),
    expires: check.nullable(fields, "expires", check.time),
    disabled: check.flag(fields, "disabled"),
    created: check.time(fields, "created"),
    passwordChanged: check.time(fields, "passwordChanged"),
  };
}

function address(fields: Fields): AddressRecord {
  return { address: check.address4(fields, "address"), user: check.userName(fields, "user") };
}

function config(fields: Fields): MeshConfig {
  try {
    return completeConfig(fields);
  } catch (error) {
    throw new Refused(error instanceof Error ? error.message : String(error));
  }
}

const validators: { [kind in RecordKind]: (fields: Fields) => RecordOfKind[kind] } = {
  config,
  heartbeat: beat,
  members: member,
  names: name,
  leases: lease,
  claims: claim,
  nodes: node,
  endpoints: endpoint,
  peers: peer,
  tokens: token,
  admins: admin,
  accounts,
  servers,
  trust,
  users: user,
  addresses: address,
};

/** The key a record belongs under; a record found under another key is refused. */
function homeOf(kind: RecordKind, record: unknown): string {
  const homes: { [kind in RecordKind]: (fields: never) => string } = {
    config: keyOf.config,
    heartbeat: keyOf.heartbeat,
    members: (one: MemberRecord) => keyOf.member(one.nodeId),
    names: (one: NameRecord) => keyOf.name(one.name),
    leases: (one: LeaseRecord) => keyOf.lease(one.cidr),
    claims: (one: ClaimRecord) => keyOf.claim(one.address, one.port),
    nodes: (one: NodeRecord) => keyOf.node(one.nodeId),
    endpoints: (one: EndpointRecord) => keyOf.endpoint(one.nodeId, one.pod),
    peers: (one: PeerRecord) => keyOf.peer(one.name),
    tokens: (one: TokenRecord) => keyOf.token(one.tokenId),
    admins: (one: AdminRecord) => keyOf.admin(one.name),
    accounts: keyOf.accounts,
    servers: keyOf.servers,
    trust: keyOf.trust,
    users: (one: UserRecord) => keyOf.user(one.name),
    addresses: (one: AddressRecord) => keyOf.address(one.address),
  };
  return homes[kind](record as never);
}

/** Throws Refused when the value is no such record, or belongs under another key. */
export function checkRecord<K extends RecordKind>(
  kind: K,
  key: string,
  value: unknown,
): RecordOfKind[K] {
  const record = validators[kind](fieldsOf(value, "the value"));
  const home = homeOf(kind, record);
  if (home !== key) throw new Refused(`the record belongs under ${home}`);
  return record;
}
