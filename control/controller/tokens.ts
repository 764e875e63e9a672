// Join tokens: made for a key whose seed the asker keeps, spent by compare-and-set, revoked.
import { createHash } from "node:crypto";
import { ControlError } from "../errors.js";
import { isTokenId, keyOf } from "../keys.js";
import { userJwt } from "../nats/index.js";
import { bootstrapPermissions } from "../permissions.js";
import type { TokenRecord } from "../records.js";
import { authorityFingerprint } from "../tls/index.js";
import type { TokenSecrets } from "../token.js";
import type { Core } from "./core.js";
import { revocationOf, secondsOf } from "./issue.js";
import { refuseKeyOfOther } from "./key-owners.js";

export interface TokenOptions {
  description?: string;
  /** One of `roles`; default "node". */
  role?: string;
  /** Seconds until it ends; default 86,400; null = never. */
  expires_s?: number | null;
  /** How many nodes may join with it; default 1; null = any number. */
  uses?: number | null;
  /** Whether nodes that join with it may serve PPTP accounts; default false. */
  pptpServer?: boolean;
}

/** A token as administrators see it. */
export interface TokenView extends Omit<TokenRecord, "bootstrapKey"> {
  pptpServer: boolean;
}

/** A token but for its seed, which only the asker has. */
export interface MadeToken {
  contents: Omit<TokenSecrets, "bootstrap">;
  jwt: string;
  view: TokenView;
}

export function viewOfToken(token: TokenRecord): TokenView {
  const { bootstrapKey: _, ...view } = token;
  return { ...view, pptpServer: token.pptpServer === true };
}

/** A use counts once, however often a node asks: also of hundreds that ask at once. */
const keptUsers_max = 600;

export class Tokens {
  readonly #core: Core;
  constructor(core: Core) {
    this.#core = core;
  }

  /** `bootstrapKey` is the public half of the seed that the token will hold. */
  async create(bootstrapKey: string, options: Required<TokenOptions>): Promise<MadeToken> {
    const { mesh, secrets, store } = this.#core;
    // Asked twice (a controller that hung got the first request), it is one token all the same.
    const tokenId = createHash("sha256").update(bootstrapKey).digest("hex").slice(0, 32);
    refuseKeyOfOther(this.#core, bootstrapKey, { token: tokenId });
    const now = Date.now();
    const ends = options.expires_s === null ? null : now + options.expires_s * 1000;
    const expires = ends === null ? null : new Date(ends).toISOString();
    const record: TokenRecord = {
      tokenId,
      bootstrapKey,
      description: options.description,
      role: options.role,
      created: new Date(now).toISOString(),
      expires,
      usesMax: options.uses,
      uses: 0,
      usedBy: [],
      revoked: false,
      ...(options.pptpServer ? { pptpServer: true } : {}),
    };
    const kept = await store.change<"tokens">(keyOf.token(tokenId), (before) =>
      before === null ? record : undefined,
    );
    const jwt = await userJwt({
      name: `token ${tokenId}`,
      key: bootstrapKey,
      account: mesh.accountKey,
      signer: secrets.signer,
      permissions: bootstrapPermissions(mesh.name, tokenId),
      ...(ends === null ? {} : { expires: Math.ceil(ends / 1000) }),
      issued: secondsOf((kept ?? record).created),
    });
    const { meshId, servers, accountKey, grantKey } = mesh;
    const ca = authorityFingerprint(mesh.ca);
    const trust = { meshId, mesh: mesh.name, servers, accountKey, grantKey, ...(ca && { ca }) };
    return { contents: { ...trust, tokenId, expires }, jwt, view: viewOfToken(kept ?? record) };
  }

  list(): TokenView[] {
    const all = [...this.#core.store.ledgers.secrets.records("tokens")].map(viewOfToken);
    return all.sort((a, b) => (a.created < b.created ? -1 : 1));
  }

  /** No more joins with it, also after a restart of every server. MESHD_NOT_FOUND. */
  async revoke(tokenId: string): Promise<TokenView> {
    const record = isTokenId(tokenId)
      ? await this.#core.store.change<"tokens">(keyOf.token(tokenId), (token) =>
          token === null || token.revoked ? undefined : { ...token, revoked: true },
        )
      : null;
    if (!record) {
      const what = `there is no token ${tokenId.slice(0, 40)}; "meshd token list" shows them`;
      throw new ControlError("MESHD_NOT_FOUND", what);
    }
    this.#core.revoke([{ key: record.bootstrapKey, at_s: revocationOfToken(this.#core, record) }]);
    return viewOfToken(record);
  }

  /**
   * Spends one use for a node, before anything else is done; the same node may ask again (its
   * answer may have been lost). `isProven` tells whether the request is signed by the token's key.
   * `fresh`: this call spent it. Errors: MESHD_TOKEN_INVALID, MESHD_TOKEN_REVOKED,
   * MESHD_TOKEN_EXPIRED, MESHD_TOKEN_USED.
   */
  async spend(
    tokenId: string,
    isProven: (bootstrapKey: string) => boolean,
    nodeId: string,
  ): Promise<{ token: TokenRecord; fresh: boolean }> {
    // As first seen: a write whose answer was lost looks like another's.
    let fresh: boolean | null = null;
    const token = await this.#core.store.change<"tokens">(keyOf.token(tokenId), (before) => {
      checkToken(before, isProven);
      const isSpent = before.usedBy.includes(nodeId);
      fresh ??= !isSpent;
      if (isSpent) return undefined;
      if (before.usesMax !== null && before.uses >= before.usesMax) {
        const what = `the token was used up (${before.uses} of ${before.usesMax} joins)`;
        throw new ControlError("MESHD_TOKEN_USED", `${what}; get another`);
      }
      const usedBy = [...before.usedBy, nodeId].slice(-keptUsers_max);
      return { ...before, uses: before.uses + 1, usedBy };
    });
    if (!token)
      throw new ControlError("MESHD_TOKEN_INVALID", "there is no such token; make a new one");
    return { token, fresh: fresh ?? false };
  }

  /** MESHD_TOKEN_REVOKED when it was meanwhile. */
  async refuseRevoked(tokenId: string): Promise<void> {
    const { record } = await this.#core.store.read<"tokens">(keyOf.token(tokenId));
    if (record?.revoked !== false) throw revokedError();
  }

  /** The token, when it would let somebody join but for its uses. MESHD_TOKEN_*. */
  async check(tokenId: string, isProven: (bootstrapKey: string) => boolean): Promise<TokenRecord> {
    const { record } = await this.#core.store.read<"tokens">(keyOf.token(tokenId));
    checkToken(record, isProven);
    return record;
  }

  /** Gives a use back when the join that spent it failed. */
  async giveBack(tokenId: string, nodeId: string): Promise<void> {
    await this.#core.store.change<"tokens">(keyOf.token(tokenId), (token) => {
      if (!token?.usedBy.includes(nodeId)) return undefined;
      const usedBy = token.usedBy.filter((one) => one !== nodeId);
      return { ...token, uses: Math.max(0, token.uses - 1), usedBy };
    });
  }
}

/** Up to when what a token holds is revoked, in unix seconds; nothing else ever has its key. */
export function revocationOfToken(core: Core, token: TokenRecord): number {
  const { bootstrapKey: key, created: began } = token;
  return revocationOf(core, { key, began, isRemoved: false });
}

function revokedError(): ControlError {
  return new ControlError("MESHD_TOKEN_REVOKED", "the token was revoked; make a new one");
}

function checkToken(
  token: TokenRecord | null,
  isProven: (bootstrapKey: string) => boolean,
): asserts token is TokenRecord {
  if (!token || !isProven(token.bootstrapKey)) {
    throw new ControlError("MESHD_TOKEN_INVALID", "this mesh gave no such token; make a new one");
  }
  if (token.revoked) throw revokedError();
  if (token.expires !== null && Date.parse(token.expires) <= Date.now()) {
    throw new ControlError(
      "MESHD_TOKEN_EXPIRED",
      `the token ended at ${token.expires}; make a new one`,
    );
  }
}
