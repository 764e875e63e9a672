// What administrators may ask: one entry per request, its arguments checked, its answer plain JSON.
import { setTimeout as sleep } from "node:timers/promises";
import * as check from "../check.js";
import { type Fields, fieldsOf, Refused } from "../check.js";
import { canonicalAddress, canonicalPrefix } from "../cidr.js";
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import { type PeerRecord, roles } from "../records.js";
import { mayAsk } from "../roles.js";
import { checkRecord } from "../validate.js";
import type { Asker } from "./admins.js";
import { type Core, configOf } from "./core.js";
import { refuseInPool } from "./leases.js";
import type { Members } from "./members.js";
import { grantPrefix, refuseEndpoint, refuseOverlap } from "./prefixes.js";
import { changeSetting } from "./settings.js";
import { storeView } from "./store-view.js";
import type { Tokens, TokenView } from "./tokens.js";
import { trustReport } from "./trust.js";
import { auditLeases, leaseViews, nodeView, type Roster, routeViews } from "./views.js";

/** Far longer than a change takes to every controller. */
const heard_ms = 300;

/** Path below `<mesh>.admin.` -> what answers it. Empty or "" as a request is {}. */
export type Requests = Record<string, (fields: Fields, asker: Asker) => Promise<unknown>>;

export function adminRequests(
  core: Core,
  members: Members,
  tokens: Tokens,
  roster: Roster,
): Requests {
  return {
    ...nodeRequests(core, members, roster),
    ...leaseRequests(core, members),
    ...tokenRequests(tokens, members),
    ...peerRequests(core, members),
    ...storeRequests(core, roster),
    "config.get": async () => configOf(core.store),
    "config.set": async (fields) =>
      changeSetting(core, check.text(fields, "name"), fields.value ?? null),
    "routes.list": async () => routeViews(core),
    "keys.report": async () => trustReport(core, roster),
    "records.refused": async () => core.store.ledgers.mesh.snapshot().refused,
  };
}

function nodeRequests(core: Core, members: Members, roster: Roster): Requests {
  const node = (fields: Fields) => check.text(fields, "node");
  const shown = (member: Parameters<typeof nodeView>[2]) => nodeView(core, roster, member);
  return {
    "nodes.list": async () => {
      const living = members.all().filter((one) => one.state !== "removed");
      return living.map(shown);
    },
    "nodes.show": async (fields) => shown(members.find(node(fields))),
    "nodes.drain": async (fields) => {
      const on = fields.on === undefined ? true : check.flag(fields, "on");
      return shown(await members.drain(node(fields), on));
    },
    "nodes.rename": async (fields) =>
      shown(await members.rename(node(fields), check.text(fields, "name"))),
    "nodes.remove": async (fields) =>
      shown(await members.remove(members.find(node(fields)).nodeId)),
    "nodes.pptp": async (fields) =>
      shown(await members.allowPptp(node(fields), check.flag(fields, "on"))),
    "nodes.grant": async (fields) => {
      const on = fields.on === undefined ? true : check.flag(fields, "on");
      const request = { node: node(fields), cidr: cidrOf(fields), on };
      return shown(await grantPrefix(core, members, request));
    },
  };
}

function leaseRequests(core: Core, members: Members): Requests {
  return {
    "leases.list": async () => leaseViews(core),
    "leases.audit": async () => auditLeases(core),
    "leases.reserve": async (fields) => {
      const { cidr } = await core.leases.reserve(cidrOf(fields));
      return leaseViews(core).find((lease) => lease.cidr === cidr);
    },
    "leases.reclaim": async (fields) =>
      fields.cidr === undefined || fields.cidr === null
        ? reclaimFound(core, members)
        : {
            reclaimed: [await reclaimOne(core, members, cidrOf(fields))],
            findings: [],
          },
  };
}

/**
 * A held lease ends and rests, and its holder no longer lists it; a resting or reserved one is free
 * at once.
 */
async function reclaimOne(core: Core, members: Members, cidr: string): Promise<string> {
  const { record } = await core.store.read<"leases">(keyOf.lease(cidr));
  if (!record) {
    const what = `there is no lease ${cidr}; "meshd lease list" shows them`;
    throw new ControlError("MESHD_NOT_FOUND", what);
  }
  if (record.state !== "held") {
    await core.leases.free(cidr);
    return cidr;
  }
  await unlist(core, members, cidr, record.nodeId);
  await core.leases.end(cidr, { nodeId: record.nodeId, epoch: record.epoch });
  return cidr;
}

async function unlist(
  core: Core,
  members: Members,
  cidr: string,
  nodeId: string | null,
): Promise<void> {
  if (nodeId === null || !core.store.ledgers.mesh.get<"members">(keyOf.member(nodeId))?.record)
    return;
  await members.change(nodeId, (member) =>
    member.podCIDRs.includes(cidr)
      ? { ...member, podCIDRs: member.podCIDRs.filter((one) => one !== cidr) }
      : undefined,
  );
}

/** Ends what the audit found without a rightful holder, and unlists what is not held. */
async function reclaimFound(core: Core, members: Members) {
  const findings = auditLeases(core);
  const reclaimed: string[] = [];
  for (const { cidr, kind, nodeId } of findings) {
    if (kind === "unheld") await unlist(core, members, cidr, nodeId);
    else if (kind === "overlap") continue;
    else if (await core.leases.end(cidr, { nodeId })) reclaimed.push(cidr);
  }
  return { reclaimed, findings: auditLeases(core) };
}

/** What became of a store that came back empty or older, and the end of the hold-off. */
function storeRequests(core: Core, roster: Roster): Requests {
  return {
    "store.report": async () => storeView(core, roster),
    "store.accept": async () => {
      core.losses.accept();
      return storeView(core, roster);
    },
  };
}

function tokenRequests(tokens: Tokens, members: Members): Requests {
  return {
    "tokens.create": async (fields, asker) => {
      const given = (name: string) => fields[name] !== undefined;
      const pptpServer = given("pptpServer") && check.flag(fields, "pptpServer");
      if (pptpServer && !mayAsk(asker.role, "nodes.pptp")) {
        const what = "only role admin lets nodes serve PPTP accounts; ask one who has it";
        throw new ControlError("MESHD_NOT_ALLOWED", what);
      }
      const whole = (all: Fields, name: string) => check.whole(all, name, 1, 1_000_000_000);
      return tokens.create(check.userKey(fields, "bootstrapKey"), {
        description: given("description") ? check.text(fields, "description") : "",
        role: given("role") ? check.choice(fields, "role", roles) : "node",
        expires_s: given("expires_s") ? check.nullable(fields, "expires_s", whole) : 86_400,
        uses: given("uses") ? check.nullable(fields, "uses", usesOf) : 1,
        pptpServer,
      });
    },
    "tokens.list": async () => tokens.list(),
    "tokens.revoke": async (fields) => {
      const isNodesToo = fields.nodes !== undefined && check.flag(fields, "nodes");
      return revokeToken(tokens, members, check.text(fields, "tokenId"), isNodesToo);
    },
  };
}

/** A token that was revoked, and the members that joined with it. */
export interface RevokedToken extends TokenView {
  /** Names of those that are members still; after a removal of them none is. */
  nodes: string[];
  /** Names of those that were removed with it. */
  removed: string[];
}

async function revokeToken(
  tokens: Tokens,
  members: Members,
  tokenId: string,
  isNodesToo: boolean,
): Promise<RevokedToken> {
  const view = await tokens.revoke(tokenId);
  // A join that another controller ended a moment before is in this one's view by then; one that
  // ends later finds the token revoked.
  if (isNodesToo) await sleep(heard_ms);
  const joined = members.joinedWith(view);
  const removed: string[] = [];
  for (const member of isNodesToo ? joined : []) {
    await members.remove(member.nodeId);
    removed.push(member.name);
  }
  const nodes = isNodesToo ? [] : joined.map((member) => member.name);
  return { ...view, nodes, removed };
}

function usesOf(fields: Fields, name: string): number {
  return check.whole(fields, name, 1, 1_000_000);
}

function peerRequests(core: Core, members: Members): Requests {
  return {
    "peers.add": async (fields) => {
      const key = keyOf.peer(check.label(fields, "name"));
      const peer: PeerRecord = checkRecord("peers", key, canonicalPeer(fields));
      refuseInPool(peer.endpoint, configOf(core.store));
      refuseEndpoint(core, members, peer);
      refuseOverlap(core, { via: "peer", name: peer.name }, peer.podCIDRs);
      return core.store.change<"peers">(key, () => peer);
    },
    "peers.list": async () => {
      const peers = [...core.store.ledgers.mesh.records("peers")];
      return peers.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    "peers.remove": async (fields) => {
      const name = check.label(fields, "name");
      let there = false;
      await core.store.change<"peers">(keyOf.peer(name), (peer) => {
        there = peer !== null;
        return there ? null : undefined;
      });
      if (!there) {
        const what = `there is no peer ${name}; "meshd peer list" shows them`;
        throw new ControlError("MESHD_NOT_FOUND", what);
      }
      return { removed: name };
    },
  };
}

/** As an administrator may spell it: "FD00:0::/48" too. */
function spelt(value: unknown, canonical: (text: string) => string | null): unknown {
  return typeof value === "string" ? (canonical(value) ?? value) : value;
}

function cidrOf(fields: Fields): string {
  return check.prefix({ cidr: spelt(fields.cidr, canonicalPrefix) }, "cidr");
}

function canonicalPeer(fields: Fields): Fields {
  const { endpoint, podCIDRs } = fields;
  const prefixes = Array.isArray(podCIDRs)
    ? podCIDRs.map((one) => spelt(one, canonicalPrefix))
    : podCIDRs;
  return { ...fields, endpoint: spelt(endpoint, canonicalAddress), podCIDRs: prefixes };
}

/** The arguments of a request: JSON object, or nothing. MESHD_BAD_REQUEST. */
export function readArguments(text: string): Fields {
  if (text.trim() === "") return {};
  try {
    return fieldsOf(JSON.parse(text), "the request");
  } catch (cause) {
    const why =
      cause instanceof Refused ? cause.message : "it is no JSON; send an object, or nothing";
    throw new ControlError("MESHD_BAD_REQUEST", `the request cannot be read: ${why}`, { cause });
  }
}
