// Members, their names and their underlay claims: each key written by compare-and-set, so that two
// controllers agree.
import { ControlError } from "../errors.js";
import { claimName, isLabel, keyOf } from "../keys.js";
import { isPublicKey } from "../nats/index.js";
import type { ClaimRecord, MemberRecord, NameRecord, TokenRecord } from "../records.js";
import type { RecordOfKind } from "../validate.js";
import { refuseEcho } from "./asks.js";
import { type Core, configOf, peerAt, unfinished_ms } from "./core.js";
import { holderOf, revocationOf } from "./issue.js";
import { poolsOf } from "./leases.js";
import type { Stored } from "./store.js";

/** Whether a record has been as it is for longer than a join, a rename or a removal takes. */
export type IsOld = (key: string, serial: number) => boolean;

/** Compare-and-set writes that another controller was faster with, in a row. */
const attempts_max = 5;

export class Members {
  readonly #core: Core;
  constructor(core: Core) {
    this.#core = core;
  }

  all(): MemberRecord[] {
    const members = [...this.#core.store.ledgers.mesh.records("members")];
    return members.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * By name or nodeId; a removed one only by nodeId or when no living one has the name.
   * MESHD_NOT_FOUND.
   */
  find(nameOrId: string): MemberRecord {
    const all = this.all();
    const named = all.filter((one) => one.name === nameOrId || one.nodeId === nameOrId);
    const found = named.find((one) => one.state !== "removed") ?? named[0];
    if (found) return found;
    const what =
      `there is no node ${JSON.stringify(nameOrId.slice(0, 80))}; "meshd node list" shows ` +
      "them";
    throw new ControlError("MESHD_NOT_FOUND", what);
  }

  /** Living members that a token let in. */
  joinedWith({ tokenId, usedBy }: Pick<TokenRecord, "tokenId" | "usedBy">): MemberRecord[] {
    return this.all().filter(
      (one) => one.state !== "removed" && (one.tokenId === tokenId || usedBy.includes(one.nodeId)),
    );
  }

  /** Changes one member's record; MESHD_NOT_FOUND when there is none. */
  async change(
    nodeId: string,
    decide: (member: MemberRecord) => MemberRecord | undefined,
  ): Promise<MemberRecord> {
    const { store } = this.#core;
    return there(nodeId, await store.change<"members">(keyOf.member(nodeId), ifThere(decide)));
  }

  /** The same, as an administrator wants it: never as the late echo of an earlier request. */
  async changeOnce(
    nodeId: string,
    decide: (member: MemberRecord) => MemberRecord | undefined,
  ): Promise<MemberRecord> {
    const { store } = this.#core;
    return there(nodeId, await store.changeOnce<"members">(keyOf.member(nodeId), ifThere(decide)));
  }

  /**
   * Takes a name or an address for a node by compare-and-set. False: it was its own before. Null:
   * another has it.
   */
  async #take<K extends "names" | "claims">(
    key: string,
    wanted: RecordOfKind[K],
  ): Promise<boolean | null> {
    const { store } = this.#core;
    for (let attempt = 0; attempt < attempts_max; attempt++) {
      const before = await store.read<K>(key);
      const { record } = before as Stored<"names" | "claims">;
      if (record?.nodeId === wanted.nodeId) return false;
      refuseEcho(key, before.asks);
      if (record && !(await this.#isLeftOver(record, before.serial))) return null;
      if (await store.write(before, wanted)) return true;
    }
    return null;
  }

  /**
   * Whether a name or an address is what a controller left behind that ended half-way: its owner is
   * no member or has another name, for longer than a join or a rename takes.
   */
  async #isLeftOver(taken: NameRecord | ClaimRecord, serial: number): Promise<boolean> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(taken.nodeId));
    const isLiving = record !== null && record.state !== "removed";
    if (isLiving && !("name" in taken && taken.name !== record.name)) return false;
    // Serials follow the clock (nextSerial).
    return Date.now() - serial > unfinished_ms;
  }

  /** Takes a name for a node. True when it was not its own before. MESHD_NAME_TAKEN. */
  async takeName(name: string, nodeId: string): Promise<boolean> {
    const taken = await this.#take<"names">(keyOf.name(name), { name, nodeId });
    if (taken !== null) return taken;
    const what = `the name ${name} belongs to another node of the mesh; choose another with --name`;
    throw new ControlError("MESHD_NAME_TAKEN", what);
  }

  async dropName(name: string, nodeId: string): Promise<void> {
    await this.#drop(keyOf.name(name), nodeId);
  }

  /** Takes a name or an address from a node; not from another that has it by now. */
  async #drop(key: string, nodeId: string): Promise<void> {
    await this.#core.store.change<"names" | "claims">(key, (record) =>
      record?.nodeId === nodeId ? null : undefined,
    );
  }

  /** Name of the living member that claims an address, whatever the port; not `except`. */
  at(address: string, except?: string): string | null {
    const { mesh } = this.#core.store.ledgers;
    for (const claim of mesh.records("claims")) {
      if (claim.address !== address || claim.nodeId === except) continue;
      const holder = mesh.get<"members">(keyOf.member(claim.nodeId))?.record;
      if (holder && holder.state !== "removed") return holder.name;
    }
    return null;
  }

  /**
   * Claims an underlay address and port. True when it was not its own before.
   * MESHD_ADDRESS_CLAIMED.
   */
  async claim(address: string, port: number, nodeId: string): Promise<boolean> {
    const key = keyOf.claim(address, port);
    const holder = this.at(address, nodeId) ?? peerAt(this.#core, address);
    const taken =
      holder === null ? await this.#take<"claims">(key, { address, port, nodeId }) : null;
    if (taken !== null) return taken;
    const what =
      `underlay address ${claimName(address, port)} is claimed by ${holder ?? "another node"}; ` +
      "use another address, or remove that one first";
    this.#core.log("address-claimed", { address, port, nodeId, owner: holder });
    throw new ControlError("MESHD_ADDRESS_CLAIMED", what);
  }

  async dropClaim(address: string, port: number, nodeId: string): Promise<void> {
    await this.#drop(keyOf.claim(address, port), nodeId);
  }

  /** Claims that a node holds. */
  claimsOf(nodeId: string): { address: string; port: number }[] {
    const claims = this.#core.store.ledgers.mesh.records("claims");
    return [...claims].filter((claim) => claim.nodeId === nodeId);
  }

  async rename(nameOrId: string, name: string): Promise<MemberRecord> {
    const member = this.find(nameOrId);
    if (!isLabel(name)) {
      const what = `name ${JSON.stringify(name)} is not one DNS label (a-z, 0-9, -; at most 63)`;
      throw new ControlError("MESHD_BAD_REQUEST", what);
    }
    if (member.state === "removed") {
      throw new ControlError("MESHD_REMOVED", `node ${member.name} was removed; it has no name`);
    }
    await this.takeName(name, member.nodeId);
    let old = member.name;
    const renamed = await this.changeOnce(member.nodeId, (before) => {
      old = before.name;
      return old === name ? undefined : { ...before, name };
    });
    if (old !== name) await this.dropName(old, member.nodeId);
    return renamed;
  }

  /** `on` false ends it. */
  drain(nameOrId: string, on: boolean): Promise<MemberRecord> {
    const { nodeId } = this.find(nameOrId);
    return this.changeOnce(nodeId, (member) => {
      if (member.state !== "active" && member.state !== "draining") {
        const what = `node ${member.name} is ${member.state}: it cannot be drained`;
        throw new ControlError("MESHD_CONFLICT", what);
      }
      return { ...member, state: on ? "draining" : "active" };
    });
  }

  /** Whether a node may serve PPTP accounts. MESHD_REMOVED. */
  allowPptp(nameOrId: string, on: boolean): Promise<MemberRecord> {
    const { nodeId } = this.find(nameOrId);
    return this.changeOnce(nodeId, (member) => {
      if (member.state === "removed") {
        throw new ControlError(
          "MESHD_REMOVED",
          `node ${member.name} was removed; it serves nobody`,
        );
      }
      return (member.pptpServer ?? false) === on ? undefined : { ...member, pptpServer: on };
    });
  }

  /**
   * Ends a membership: no reader routes to it from then on, its leases rest, its name and addresses
   * are free, its credentials end. Each step may be done again after a crash.
   */
  async remove(nodeId: string): Promise<MemberRecord> {
    const member = await this.changeOnce(nodeId, (before) => ({
      ...before,
      state: "removed",
      podCIDRs: [],
      grantedPrefixes: [],
      pptpServer: false,
      revoked_s: revocationOf(this.#core, holderOf(before)),
    }));
    await this.#endLeases(member);
    const { mesh } = this.#core.store.ledgers;
    const own = [...mesh.ofKind("names"), ...mesh.ofKind("claims")];
    for (const { key, record } of own) if (record?.nodeId === nodeId) await this.#drop(key, nodeId);
    await this.dropName(member.name, nodeId);
    this.#core.revoke([{ key: nodeId, at_s: member.revoked_s ?? 0 }]);
    this.#core.log("node-removed", { nodeId, name: member.name });
    return member;
  }

  /** Leases that a removed member still holds; not those of a later membership. */
  async #endLeases({ nodeId, epoch }: MemberRecord): Promise<void> {
    const { mesh } = this.#core.store.ledgers;
    const held = [...mesh.records("leases")].filter(
      (one) => one.nodeId === nodeId && one.state === "held" && one.epoch <= epoch,
    );
    for (const lease of held) {
      await this.#core.leases.end(lease.cidr, { nodeId, epoch: lease.epoch });
    }
  }

  /**
   * Finishes what a controller began and did not live to end: removals, and what is old of renames
   * and claims. `joins`: ends old joins that never got a lease, too; nobody was told of them.
   */
  async finish(isOld: IsOld, { joins } = { joins: false }): Promise<void> {
    const { mesh } = this.#core.store.ledgers;
    for (const member of this.all()) {
      if (member.state === "removed") await this.#endLeases(member);
      else if (joins && this.#isUnfinished(member)) {
        const key = keyOf.member(member.nodeId);
        if (isOld(key, mesh.get(key)?.serial ?? 0)) await this.#undoJoin(member);
      }
    }
    for (const { key, record, serial } of [...mesh.ofKind("names"), ...mesh.ofKind("claims")]) {
      if (record === null || !this.#isAbandoned(record) || !isOld(key, serial)) continue;
      await this.#drop(key, record.nodeId);
    }
  }

  /** Its owner is no member, or has another name by now. */
  #isAbandoned(taken: NameRecord | ClaimRecord): boolean {
    const { mesh } = this.#core.store.ledgers;
    const owner = mesh.get<"members">(keyOf.member(taken.nodeId))?.record;
    if (!owner || owner.state === "removed") return true;
    return "name" in taken && taken.name !== owner.name;
  }

  /** It has no PodCIDR and has never spoken under this membership. */
  #isUnfinished({ nodeId, podCIDRs, epoch }: MemberRecord): boolean {
    const { store } = this.#core;
    const node = store.ledgers.mesh.get<"nodes">(keyOf.node(nodeId))?.record;
    return podCIDRs.length === 0 && node?.epoch !== epoch && poolsOf(configOf(store)).length > 0;
  }

  async #undoJoin({ nodeId, name }: MemberRecord): Promise<void> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    if (!record || record.state === "removed" || !this.#isUnfinished(record)) return;
    this.#core.log("join-unfinished", { nodeId, name });
    await this.remove(nodeId);
  }

  /**
   * A node tells its underlay address itself: claims follow what it says, unless another has it.
   */
  async followNode(nodeId: string): Promise<void> {
    const { mesh } = this.#core.store.ledgers;
    const node = mesh.get<"nodes">(keyOf.node(nodeId))?.record;
    const member = mesh.get<"members">(keyOf.member(nodeId))?.record;
    if (!node || !member || member.state === "removed" || !isPublicKey(nodeId, "U")) return;
    const address = node.underlay.addresses[0];
    const { port } = node.underlay;
    if (address === undefined) return;
    const wanted = claimName(address, port);
    const claims = this.claimsOf(nodeId);
    if (claims.length === 1 && claims.every((one) => claimName(one.address, one.port) === wanted)) {
      return;
    }
    await this.claim(address, port, nodeId);
    for (const claim of claims) {
      if (claimName(claim.address, claim.port) === wanted) continue;
      await this.dropClaim(claim.address, claim.port, nodeId);
    }
  }
}

const ifThere =
  (decide: (member: MemberRecord) => MemberRecord | undefined) => (before: MemberRecord | null) =>
    before ? decide(before) : undefined;

function there(nodeId: string, member: MemberRecord | null): MemberRecord {
  if (member) return member;
  throw new ControlError("MESHD_NOT_FOUND", `there is no node ${nodeId}`);
}
