// What may be asked of the list of administrators: arguments checked, answers plain JSON.
import * as check from "../check.js";
import { ADMIN_LASTS_S, type Mesh, type MeshPlace, placeOf } from "../founding/index.js";
import { adminRoles } from "../roles.js";
import type { Admins, Asker, MadeAdmin } from "./admins.js";
import type { Requests } from "./requests.js";

/** Credentials for a key, and where the mesh is. */
export interface GivenAdmin extends MadeAdmin {
  place: MeshPlace;
}

const lasts_max_s = 365 * 86_400;

export function adminListRequests(admins: Admins, mesh: Mesh): Requests {
  const given = (made: MadeAdmin): GivenAdmin => ({ ...made, place: placeOf(mesh) });
  const nameOf = ({ name }: Asker) => name ?? "";
  return {
    "admins.list": async () => admins.list(),
    "admins.add": async (fields, asker) => {
      const seconds = (all: check.Fields, name: string) => check.whole(all, name, 1, lasts_max_s);
      const lasts_s =
        fields.expires_s === undefined
          ? ADMIN_LASTS_S
          : check.nullable(fields, "expires_s", seconds);
      const name = check.label(fields, "name");
      const role = check.choice(fields, "role", adminRoles);
      const wish = { name, role, key: check.userKey(fields, "key"), lasts_s };
      return given(await admins.add(wish, nameOf(asker)));
    },
    "admins.renew": async (_, asker) => given(await admins.renew(nameOf(asker))),
    "admins.remove": async (fields) => admins.remove(check.label(fields, "name")),
  };
}
