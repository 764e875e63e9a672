// What controllers tell single members: the accounts and their key to nodes that may serve PPTP,
// and to any member the secrets of pairs that it belongs to.
import { createHmac } from "node:crypto";
import type { Fields } from "../check.js";
import * as check from "../check.js";
import { type Confidence, confide } from "../confide.js";
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import { PAIRS_MAX } from "../member/index.js";
import type { MemberRecord } from "../records.js";
import { derivedKey } from "../secrets.js";
import type { Core } from "./core.js";
import type { Users } from "./users.js";

/** Below the longest message of a NATS server (1 MB). */
const pageLength_max = 400_000;

export class Confidant {
  readonly #core: Core;
  readonly #users: Users;
  constructor(core: Core, users: Users) {
    this.#core = core;
    this.#users = users;
  }

  /** Verbs of members' requests. */
  readonly answers: Readonly<Record<string, (nodeId: string, request: Fields) => Promise<object>>> =
    {
      users: (nodeId, request) =>
        this.#confide(nodeId, "users", request, () => this.#accounts(nodeId, request)),
      pair: (nodeId, request) =>
        this.#confide(nodeId, "pair", request, () => this.#pairs(nodeId, request)),
    };

  #confide(
    nodeId: string,
    verb: string,
    request: Fields,
    answer: () => Promise<Confidence>,
  ): Promise<object> {
    const { mesh, secrets } = this.#core;
    return confide(mesh.meshId, secrets.grant, { nodeId, verb, request }, answer);
  }

  /** From the stream's leader: a permission that another controller took away counts at once. */
  async #member(nodeId: string): Promise<MemberRecord> {
    const { record } = await this.#core.store.read<"members">(keyOf.member(nodeId));
    if (record && record.state !== "removed") return record;
    throw new ControlError("MESHD_NOT_A_MEMBER", "this mesh has no such member");
  }

  /** A page of signed account records, removals too, behind the key `after`. */
  async #accounts(nodeId: string, request: Fields): Promise<Confidence> {
    const member = await this.#member(nodeId);
    if (member.pptpServer !== true) {
      this.#core.log("users-refused", { nodeId, name: member.name });
      const what =
        `node ${member.name} may not serve PPTP accounts; ` +
        `"meshd node pptp ${member.name} --allow" lets it`;
      throw new ControlError("MESHD_NOT_ALLOWED", what);
    }
    const after = request.after === undefined ? "" : check.text(request, "after", 256);
    const held = [...this.#core.store.ledgers.secrets.ofKind("users")];
    const rest = held.filter((one) => one.key > after).sort((a, b) => (a.key < b.key ? -1 : 1));
    const records: { key: string; value: string }[] = [];
    let length = 0;
    for (const { key, raw: value } of rest) {
      if (length + value.length > pageLength_max) break;
      records.push({ key, value });
      length += value.length;
    }
    const more = records.length < rest.length ? (records.at(-1)?.key ?? null) : null;
    return { fields: { records, more }, secret: this.#users.sealingKey.toString("base64url") };
  }

  /** The same for both, whoever asks and whichever controller answers; of living members alone. */
  async #pairs(nodeId: string, request: Fields): Promise<Confidence> {
    const others = check.list(request, "with", PAIRS_MAX, check.userKey);
    await this.#member(nodeId);
    const { mesh, secrets, store } = this.#core;
    const key = derivedKey(secrets.grant.getSeed(), mesh.meshId, "pptp pairs");
    const isLiving = (other: string) => {
      const member = store.ledgers.mesh.get<"members">(keyOf.member(other))?.record;
      return other !== nodeId && member != null && member.state !== "removed";
    };
    const secretWith = (other: string) => {
      const pair = [nodeId, other].sort().join("\n");
      return createHmac("sha256", key).update(pair).digest("base64url");
    };
    const found = others.filter(isLiving).map((other) => [other, secretWith(other)] as const);
    return { fields: {}, secret: JSON.stringify(Object.fromEntries(found)) };
  }
}
