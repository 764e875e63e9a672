// meshd user add | list | remove | passwd | set: accounts of PPTP clients. The password comes from
// a prompt or a file; its NT hash is made here, and crosses the wire in a box for the controllers.
import type { UserChange, UserSecret, UserView } from "../../control/index.js";
import { checkValue, kinds } from "../config/index.js";
import { ntHash } from "../ppp/index.js";
import { INSECURE } from "../pptp/index.js";
import { withAdmin } from "./admin.js";
import {
  type CommandGroup,
  type Context,
  type Invocation,
  type OptionSpec,
  UsageError,
} from "./command.js";
import { moment } from "./duration.js";
import { agoText, print, tableOr } from "./output.js";
import { readPassword } from "./password.js";

const userName = kinds.text(
  "a name of a-z, 0-9, dot, _ and -, at most 63, a letter or digit first",
  (given) => /^[a-z0-9][a-z0-9._-]{0,62}$/.test(given),
);
const fixedAddress = kinds.orNull(
  kinds.text("an IPv4 address of a PodCIDR", (given) => kinds.address4.parse(given) !== undefined),
);

function nameOf(invocation: Invocation): string {
  return checkValue(userName, "NAME", invocation.words[0]);
}

async function secretOf(invocation: Invocation, context: Context): Promise<UserSecret> {
  const password = await readPassword(invocation, context, { twice: true });
  const hash = Buffer.from(ntHash(password)).toString("hex");
  return { ntHash: hash, ...(invocation.has("chap-md5") ? { clear: password } : {}) };
}

/** What the options say of an account beside its password. */
function changeOf(invocation: Invocation): UserChange {
  const [address, expires] = [invocation.text("address"), invocation.text("expires")];
  const [disable, enable] = [invocation.has("disable"), invocation.has("enable")];
  if (disable && enable) throw new UsageError("--disable and --enable: give one of them");
  return {
    ...(address === undefined ? {} : { address: checkValue(fixedAddress, "--address", address) }),
    ...(expires === undefined ? {} : { expires: checkValue(moment, "--expires", expires) }),
    ...(disable || enable ? { disabled: disable } : {}),
  };
}

async function add(invocation: Invocation, context: Context): Promise<undefined> {
  const name = nameOf(invocation);
  const wishes = changeOf(invocation);
  const secret = await secretOf(invocation, context);
  const [user, nodes] = await withAdmin(
    invocation.settings,
    async (admin) =>
      [await admin.users.add(name, secret, wishes), await admin.nodes.list()] as const,
  );
  const isServed = nodes.some((node) => node.pptpServer);
  const unserved = "no node may serve it yet; 'meshd node pptp NODE --allow' lets one";
  const more = isServed ? [] : [unserved];
  shown(invocation, context, user, `user ${user.name} is added`, more);
}

async function passwd(invocation: Invocation, context: Context): Promise<undefined> {
  const name = nameOf(invocation);
  const secret = await secretOf(invocation, context);
  const user = await withAdmin(invocation.settings, (admin) => admin.users.passwd(name, secret));
  shown(invocation, context, user, `user ${user.name} has a new password`);
}

async function set(invocation: Invocation, context: Context): Promise<undefined> {
  const name = nameOf(invocation);
  const change = changeOf(invocation);
  if (Object.keys(change).length === 0) {
    const what =
      "give one of --address, --expires, --disable and --enable; see meshd user set --help";
    throw new UsageError(what);
  }
  const user = await withAdmin(invocation.settings, (admin) => admin.users.set(name, change));
  shown(invocation, context, user, `user ${user.name} is changed`);
}

function shown(
  invocation: Invocation,
  context: Context,
  user: UserView,
  done: string,
  more: string[] = [],
): void {
  const warnings = [...warningsOf(user), ...more];
  print(invocation, context, { ...user, warnings }, () => {
    const lines = [done, ...warnings.map((warning) => `warning: ${warning}`)];
    return `${lines.join("\n")}\n`;
  });
}

/** What an operator should know of an account. */
function warningsOf(user: UserView): string[] {
  const { address, addressNode } = user;
  const nowhere = address !== null && addressNode === null;
  return [
    INSECURE,
    ...(user.insecureClear ? ["its clear password is kept for CHAP-MD5: insecure"] : []),
    ...(stateOf(user) === "expired" ? ["it has expired: it cannot dial in"] : []),
    ...(nowhere ? [`no node has ${address} in its PodCIDR: it can dial in nowhere`] : []),
  ];
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const users = await withAdmin(invocation.settings, (admin) => admin.users.list());
  print(invocation, context, users, () => {
    const heads = ["USER", "STATE", "ADDRESS", "AT NODE", "EXPIRES", "KEPT", "PASSWORD CHANGED"];
    const rows = users.map((user) => [
      user.name,
      stateOf(user),
      user.address,
      user.addressNode,
      user.expires === null ? "never" : agoText(user.expires),
      user.insecureClear ? "clear password (insecure)" : "NT hash",
      agoText(user.passwordChanged),
    ]);
    return `${tableOr(heads, rows, "no users; 'meshd user add NAME' makes one")}${INSECURE}\n`;
  });
}

function stateOf(user: UserView): string {
  if (user.disabled) return "disabled";
  return user.expires !== null && Date.parse(user.expires) <= Date.now() ? "expired" : "active";
}

async function remove(invocation: Invocation, context: Context): Promise<undefined> {
  const name = nameOf(invocation);
  const removed = await withAdmin(invocation.settings, (admin) => admin.users.remove(name));
  print(invocation, context, removed, () => `user ${name} is removed; its sessions end\n`);
}

const passwordOptions: Readonly<Record<string, OptionSpec>> = {
  "password-file": {
    value: "FILE",
    about: 'its first line is the password; "-": standard input (default: ask for it)',
  },
  "chap-md5": {
    about: "keep the clear password, too, for clients that have CHAP-MD5 alone: even less secure",
  },
};

const changeOptions: Readonly<Record<string, OptionSpec>> = {
  address: {
    value: "ADDRESS",
    about: "fixed IPv4 address of its client, in the PodCIDR of the node it dials; none ends it",
  },
  expires: { value: "WHEN", about: `${moment.allowed} (default never)` },
  disable: { about: "let it in no more; its sessions end" },
};

const note = `${INSECURE}.`;

export const command: CommandGroup = {
  about: `Accounts of users who dial in by PPTP. ${note}`,
  commands: {
    add: {
      usage: "NAME",
      about: `Makes an account. The NT hash of its password is kept, sealed. ${note}`,
      example:
        "meshd user add ada --expires 90d\nmeshd user add gate7 --password-file /root/gate7 " +
        "--address 10.244.1.200",
      options: { ...passwordOptions, ...changeOptions },
      words: [1, 1],
      run: add,
    },
    list: {
      usage: "",
      about: "Lists the accounts of this insecure protocol; never their passwords.",
      example: "meshd user list --json",
      words: [0, 0],
      run: list,
    },
    remove: {
      usage: "NAME",
      about:
        "Removes an account of this insecure protocol; its sessions end within seconds, on nodes " +
        "that NATS reaches.",
      example: "meshd user remove ada",
      words: [1, 1],
      run: remove,
    },
    passwd: {
      usage: "NAME",
      about:
        "Changes a password; sessions of the account end. Without --chap-md5 no clear password " +
        `is kept any more. ${note}`,
      example: "meshd user passwd ada",
      options: passwordOptions,
      words: [1, 1],
      run: passwd,
    },
    set: {
      usage: "NAME",
      about: `Changes an account, but for its password. ${note}`,
      example: "meshd user set ada --disable\nmeshd user set ada --enable --address none",
      options: { ...changeOptions, enable: { about: "let it in again" } },
      words: [1, 1],
      run: set,
    },
  },
};
