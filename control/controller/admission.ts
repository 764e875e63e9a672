// Joining, renewing and leaving. A join's steps are each a compare-and-set and may be done again
// after a crash at any point; what a failed join did is undone.
import * as check from "../check.js";
import { fieldsOf, Refused } from "../check.js";
import { parsePrefix } from "../cidr.js";
import { ControlError } from "../errors.js";
import { type JoinRequest, joinProof } from "../join.js";
import { keyOf } from "../keys.js";
import type { Membership } from "../membership.js";
import { userJwt, verifySignature } from "../nats/index.js";
import { nodePermissions, renewalPermissions } from "../permissions.js";
import type { LeaseRecord, MemberRecord, TokenRecord } from "../records.js";
import { duplicateError, readPlace } from "../twins.js";
import { type Core, configOf, refuseInHoldOff } from "./core.js";
import { Gate } from "./gate.js";
import { holderOf, issuedTo, revokedBefore } from "./issue.js";
import { type Pool, poolsOf, refuseInPool } from "./leases.js";
import type { Members } from "./members.js";
import type { Tokens } from "./tokens.js";

/** Joins at work at once: at most, at least, and so that what each writes goes to so many. */
const atWork_max = 256;
const atWork_min = 16;
const readers_max = 60_000;

interface Earlier {
  names: string[];
  claims: { address: string; port: number }[];
}

export class Admission {
  readonly #core: Core;
  readonly #members: Members;
  readonly #tokens: Tokens;
  /** Joins of one node are done one after the other in this controller. */
  readonly #busy = new Map<string, { asked: string; work: Promise<Membership> }>();

  /** Where members watch, every write goes to each before it is acknowledged: not too many. */
  readonly #gate = new Gate(() => {
    const readers = Math.max(this.#core.store.ledgers.mesh.count("members"), 1);
    return Math.min(Math.max(Math.floor(readers_max / readers), atWork_min), atWork_max);
  });
  readonly #credentials_s: number;

  /** `credentials_s`: how long node credentials last. */
  constructor(core: Core, members: Members, tokens: Tokens, credentials_s: number) {
    this.#core = core;
    this.#credentials_s = credentials_s;
    this.#members = members;
    this.#tokens = tokens;
  }

  /**
   * Errors: MESHD_BAD_REQUEST, MESHD_PROOF_INVALID, MESHD_TOKEN_*, MESHD_NAME_TAKEN,
   * MESHD_ADDRESS_CLAIMED, MESHD_POOL_EXHAUSTED, MESHD_DUPLICATE_NODE.
   */
  async join(tokenId: string, value: unknown): Promise<Membership> {
    const request = readRequest(value);
    refuseInHoldOff(this.#core);
    if (!isSigned(this.#core.mesh.meshId, tokenId, request, request.nodeId, request.proof)) {
      const what = "the request is not signed by the key it names; join with the node's own key";
      throw new ControlError("MESHD_PROOF_INVALID", what);
    }
    refuseInPool(request.underlay.address, configOf(this.#core.store));
    const before = this.#busy.get(request.nodeId);
    const asked = JSON.stringify([tokenId, request]);
    // Who waits asks again: what is under way answers both.
    if (before?.asked === asked) return before.work;
    const turn = Promise.resolve(before?.work).catch(() => undefined);
    const once = () => this.#gate.run(() => this.#joinInTurn(tokenId, request));
    const work = turn.then(() =>
      once().catch((error: unknown) => {
        // The same request failed at another controller, which took the member record back.
        if (codeOf(error) !== "MESHD_NOT_FOUND") throw error;
        return once();
      }),
    );
    this.#busy.set(request.nodeId, { asked, work });
    try {
      return await work;
    } finally {
      if (this.#busy.get(request.nodeId)?.work === work) this.#busy.delete(request.nodeId);
    }
  }

  async #joinInTurn(tokenId: string, request: JoinRequest): Promise<Membership> {
    const { nodeId, name, underlay } = request;
    const { meshId } = this.#core.mesh;
    const isProven = (key: string) => isSigned(meshId, tokenId, request, key, request.tokenProof);
    const undo: (() => Promise<unknown>)[] = [];
    await this.#refuseDuplicate(request);
    const earlier = this.#earlierOf(request);
    // A use that an earlier join of this node spent stays spent, whatever becomes of this one.
    const spend = async () => {
      const { token, fresh } = await this.#tokens.spend(tokenId, isProven, nodeId);
      if (fresh) undo.push(() => this.#tokens.giveBack(tokenId, nodeId));
      return token;
    };
    const hasJoined = await this.#hasJoined(nodeId, tokenId);
    const token = hasJoined ? await this.#tokens.check(tokenId, isProven) : await spend();
    const isTwin = !hasJoined && undo.length === 0;
    let isListed = false;
    try {
      if (await this.#members.claim(underlay.address, underlay.port, nodeId)) {
        undo.push(() => this.#members.dropClaim(underlay.address, underlay.port, nodeId));
      }
      if (await this.#members.takeName(name, nodeId)) {
        undo.push(() => this.#members.dropName(name, nodeId));
      }
      const member = await this.#admit(request, token, undo);
      const leased = await this.#lease(member, undo);
      isListed = true;
      // Another controller, where the other request failed, may have given the use back meanwhile.
      if (isTwin) await spend();
      // It may have been revoked meanwhile, with the nodes that had joined with it until then.
      await this.#tokens.refuseRevoked(tokenId);
      await this.#drop(nodeId, earlier);
      this.#core.log("node-joined", { nodeId, name, podCIDRs: leased.podCIDRs, tokenId });
      return await this.#membership(leased);
    } catch (error) {
      // What stands in the member record stands: who asked asks again and gets the same.
      const isRefused = codeOf(error).startsWith("MESHD_TOKEN_");
      if (isListed && !isRefused) throw error;
      const stands = !isListed && !hasJoined && (await this.#hasJoined(nodeId, tokenId));
      if (stands) await this.#endSpares(nodeId).catch(() => undefined);
      else for (const step of undo.reverse()) await step().catch(() => undefined);
      throw error;
    }
  }

  /** Another controller finished the same join with other leases than this one had given. */
  async #endSpares(nodeId: string): Promise<void> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    const spares = this.#heldBy(nodeId).filter(({ cidr }) => !record?.podCIDRs.includes(cidr));
    for (const { cidr, epoch } of spares) await this.#core.leases.end(cidr, { nodeId, epoch }, 0);
  }

  /** A living member that runs elsewhere keeps name, address and lease. MESHD_DUPLICATE_NODE. */
  async #refuseDuplicate({ nodeId, name, underlay, place }: JoinRequest): Promise<void> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    if (record === null || record.state === "removed") return;
    const there = await this.#core.whoRuns(nodeId, place ?? null);
    if (there === null) return;
    const nobody = { run: "", host: "unknown", bootId: "", address: underlay.address };
    this.#core.log("join-refused", { nodeId, name, reason: "duplicate", there, here: place });
    throw duplicateError(record.name, there, place ?? nobody);
  }

  /** Whether this token's use is behind the node: the same request came once more. */
  async #hasJoined(nodeId: string, tokenId: string): Promise<boolean> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    if (record === null || record.state === "removed") return false;
    return record.tokenId === tokenId && record.podCIDRs.length > 0;
  }

  /** The member record, before any lease: new, as it was, or alive again with a higher epoch. */
  async #admit(
    request: JoinRequest,
    token: TokenRecord,
    undo: (() => Promise<unknown>)[],
  ): Promise<MemberRecord> {
    const { nodeId, name } = request;
    const key = keyOf.member(nodeId);
    let before: MemberRecord | null = null;
    const member = await this.#core.store.changeOnce<"members">(key, (record) => {
      before = record;
      if (record && record.state !== "removed") {
        const allowed = token.pptpServer === true || record.pptpServer === true;
        const same = record.name === name && allowed === (record.pptpServer ?? false);
        return same ? undefined : { ...record, ...(allowed ? { pptpServer: true } : {}), name };
      }
      return {
        nodeId,
        name,
        key: nodeId,
        state: "active",
        role: token.role,
        podCIDRs: [],
        epoch: (record?.epoch ?? 0) + 1,
        grantedPrefixes: [],
        ...(token.pptpServer === true ? { pptpServer: true } : {}),
        joined: new Date().toISOString(),
        tokenId: token.tokenId,
        ...revokedBefore(this.#core, nodeId, record),
        signature: "",
      };
    });
    const old = before as MemberRecord | null;
    const back =
      old && old.state !== "removed"
        ? { name: old.name, pptpServer: old.pptpServer ?? false }
        : null;
    undo.push(() =>
      this.#core.store.changeOnce<"members">(key, (now) => {
        if (!now || now.epoch !== member?.epoch) return undefined;
        // Another controller may have finished the same join meanwhile: then it stands.
        if (back) return { ...now, ...back };
        return now.podCIDRs.length === 0 ? old : undefined;
      }),
    );
    if (!member)
      throw new ControlError("MESHD_CONFLICT", `node ${name} changed meanwhile; try again`);
    return member;
  }

  /**
   * One lease per pool: those it holds already, else new ones; then the member record lists them.
   * The same request may be under way at another controller: whose list is written first stands.
   */
  async #lease(member: MemberRecord, undo: (() => Promise<unknown>)[]): Promise<MemberRecord> {
    const { store, leases } = this.#core;
    const { nodeId, epoch } = member;
    const cidrs: string[] = [];
    const given: string[] = [];
    for (const pool of poolsOf(configOf(store))) {
      const held = await this.#heldIn(pool, member);
      if (held === null) {
        const { cidr } = await leases.give(pool, nodeId, epoch);
        // Nothing was ever sent from it: it needs no rest.
        undo.push(() => leases.end(cidr, { nodeId, epoch }, 0));
        given.push(cidr);
      }
      cidrs.push(held ?? (given.at(-1) as string));
    }
    if (cidrs.join() === member.podCIDRs.join()) return member;
    const listed = await this.#members.change(nodeId, (record) => {
      if (record.state === "removed" || record.epoch !== epoch) {
        const what = `node ${record.name} was removed while it joined; join again`;
        throw new ControlError("MESHD_REMOVED", what);
      }
      const isFirst = record.podCIDRs.join() === member.podCIDRs.join();
      return isFirst ? { ...record, podCIDRs: cidrs } : undefined;
    });
    const spare = given.filter((cidr) => !listed.podCIDRs.includes(cidr));
    for (const cidr of spare) await leases.end(cidr, { nodeId, epoch }, 0);
    return listed;
  }

  /** What the node holds of a pool by the store's own word; our view may be behind it. */
  async #heldIn(pool: Pool, { nodeId, epoch, podCIDRs }: MemberRecord): Promise<string | null> {
    const known = this.#heldBy(nodeId).map((lease) => lease.cidr);
    for (const cidr of new Set([...podCIDRs, ...known])) {
      if (parsePrefix(cidr)?.family !== pool.prefix.family) continue;
      const { record } = await this.#core.store.read<"leases">(keyOf.lease(cidr));
      const isHeld = record?.state === "held" && record.nodeId === nodeId;
      if (isHeld && record.epoch === epoch) return cidr;
    }
    return null;
  }

  /** Other names and claims that the key has before it joins now: of an earlier join. */
  #earlierOf({ nodeId, name, underlay }: JoinRequest): Earlier {
    const all = [...this.#core.store.ledgers.mesh.records("names")];
    const names = all.filter((one) => one.nodeId === nodeId && one.name !== name);
    const claims = this.#members
      .claimsOf(nodeId)
      .filter(({ address, port }) => address !== underlay.address || port !== underlay.port);
    return { names: names.map((one) => one.name), claims };
  }

  async #drop(nodeId: string, { names, claims }: Earlier): Promise<void> {
    for (const name of names) await this.#members.dropName(name, nodeId);
    for (const { address, port } of claims) await this.#members.dropClaim(address, port, nodeId);
  }

  #heldBy(nodeId: string): LeaseRecord[] {
    const leases = [...this.#core.store.ledgers.mesh.records("leases")];
    return leases.filter((lease) => lease.nodeId === nodeId && lease.state === "held");
  }

  /** New credentials for a member. MESHD_NOT_A_MEMBER, MESHD_REMOVED. */
  async renew(nodeId: string): Promise<Membership> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    if (!record) {
      const what = "this mesh does not know this node; join with a token";
      throw new ControlError("MESHD_NOT_A_MEMBER", what);
    }
    if (record.state === "removed") {
      const what = `node ${record.name} was removed from the mesh; join again with a new token`;
      throw new ControlError("MESHD_REMOVED", what);
    }
    return this.#membership(record);
  }

  /** A node leaves by itself. The answer goes out before its credentials end. */
  async leave(nodeId: string): Promise<{ left: string }> {
    const member = await this.#members.remove(nodeId);
    return { left: member.name };
  }

  async #membership(admitted: MemberRecord): Promise<Membership> {
    const { mesh, secrets, store } = this.#core;
    const { nodeId } = admitted;
    // Record and grants of one moment: the node compares them.
    const member = store.ledgers.mesh.get<"members">(keyOf.member(nodeId))?.record ?? admitted;
    const { name, podCIDRs, epoch } = member;
    const keys = [keyOf.member(nodeId), ...podCIDRs.map((cidr) => keyOf.lease(cidr))];
    const grants = keys.map((key) => store.grant(key)).filter((grant) => grant !== null);
    const issued = issuedTo(this.#core, holderOf(member));
    const user = { name, key: nodeId, account: mesh.accountKey, signer: secrets.signer, issued };
    const jwt = await userJwt({
      ...user,
      permissions: nodePermissions(mesh.name, nodeId, { pptpServer: member.pptpServer === true }),
      expires: Math.floor(Date.now() / 1000) + this.#credentials_s,
    });
    const permissions = renewalPermissions(mesh.name, nodeId);
    const renewalJwt = await userJwt({ ...user, permissions });
    const { meshId, servers, accountKey, grantKey } = mesh;
    const trust = { meshId, mesh: mesh.name, servers, accountKey, grantKey };
    const config = configOf(store);
    return { ...trust, nodeId, name, jwt, renewalJwt, grants, podCIDRs, epoch, config };
  }
}

/** Whether a key signed this request, bound to mesh and token. */
function isSigned(
  meshId: string,
  tokenId: string,
  request: JoinRequest,
  key: string,
  signature: string,
): boolean {
  const signed = Buffer.from(signature, "base64url");
  return verifySignature(key, joinProof(meshId, tokenId, request), signed);
}

function codeOf(error: unknown): string {
  return error instanceof ControlError ? error.code : "";
}

function readRequest(value: unknown): JoinRequest {
  try {
    const fields = fieldsOf(value, "the request");
    const underlay = fieldsOf(fields.underlay, "underlay");
    return {
      nodeId: check.userKey(fields, "nodeId"),
      name: check.label(fields, "name"),
      underlay: {
        address: check.address(underlay, "address"),
        port: check.whole(underlay, "port", 0, 65_535),
      },
      proof: check.text(fields, "proof", 128),
      tokenProof: check.text(fields, "tokenProof", 128),
      ...(fields.place === undefined ? {} : { place: readPlace(fields.place) }),
    };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new ControlError("MESHD_BAD_REQUEST", `the join request is malformed: ${error.message}`);
  }
}
