// What administrators may ask of PPTP accounts: arguments checked, answers plain JSON.
import * as check from "../check.js";
import { type Fields, refuse } from "../check.js";
import { readUserSecret, type UserSecret } from "../user-secret.js";
import type { Requests } from "./requests.js";
import type { UserChange, Users } from "./users.js";

export function userRequests(users: Users): Requests {
  const name = (fields: Fields) => check.userName(fields, "name");
  return {
    "users.key": async () => users.boxKey(),
    "users.list": async () => users.list(),
    "users.add": async (fields) =>
      users.add(name(fields), secretOf(fields, users), changeOf(fields)),
    "users.passwd": async (fields) => users.passwd(name(fields), secretOf(fields, users)),
    "users.set": async (fields) => {
      const change = changeOf(fields);
      if (Object.keys(change).length === 0) {
        refuse("the change", {}, "one of address, expires and disabled");
      }
      return users.set(name(fields), change);
    },
    "users.remove": async (fields) => users.remove(name(fields)),
  };
}

/** In a box, as the command line sends it; or the hash as it is, which others may read then. */
function secretOf(fields: Fields, users: Users): UserSecret {
  if (fields.secret !== undefined) return users.openSecret(check.text(fields, "secret", 4_096));
  const secret = readUserSecret(fields);
  const wanted = "the NT hash, 32 hexadecimal digits in lower case (clear: 1 to 256 characters)";
  return secret ?? refuse("ntHash", "given", wanted);
}

function changeOf(fields: Fields): UserChange {
  const isGiven = (name: string) => fields[name] !== undefined;
  return {
    ...(isGiven("address") ? { address: check.nullable(fields, "address", check.address4) } : {}),
    ...(isGiven("expires") ? { expires: check.nullable(fields, "expires", check.time) } : {}),
    ...(isGiven("disabled") ? { disabled: check.flag(fields, "disabled") } : {}),
  };
}
