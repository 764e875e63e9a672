// Whose a user key is. A key that is named in a request may be anybody's public one: taken for a
// token or an administrator, it would be revoked with it, and its owner's connections be cut.
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import type { Core } from "./core.js";

/** Refuses a key that is a member's, a controller's, a token's or an administrator's. */
export function refuseKeyOfOther(
  core: Core,
  key: string,
  except: { admin?: string; token?: string } = {},
): void {
  const { mesh, secrets } = core.store.ledgers;
  const isOthers =
    key === core.controllerId ||
    key === mesh.get<"heartbeat">(keyOf.heartbeat())?.record?.controllerId ||
    Boolean(mesh.get(keyOf.member(key))?.record) ||
    [...secrets.records("tokens")].some(
      (one) => one.bootstrapKey === key && one.tokenId !== except.token,
    ) ||
    [...secrets.records("admins")].some((one) => one.key === key && one.name !== except.admin);
  if (!isOthers) return;
  const what = 'this key is somebody else\'s already; make a new one ("meshd admin key")';
  throw new ControlError("MESHD_NAME_TAKEN", what);
}
