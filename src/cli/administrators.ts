// meshd admin add | list | remove | key | take: who may administer the mesh.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { AdminChoice, AdminView } from "../../control/index.js";
import { checkValue, kinds, label, type Settings } from "../config/index.js";
import { meshDir, withAdmin } from "./admin.js";
import {
  type Command,
  CommandError,
  type CommandGroup,
  type Context,
  type Invocation,
  UsageError,
} from "./command.js";
import { duration } from "./duration.js";
import { writeSecret } from "./files.js";
import { agoText, print, tableOr } from "./output.js";

/** As the control plane has them; it checks them, too. */
const roles = kinds.oneOf("observer", "operator", "admin");
const publicKey = kinds.text("a public user key (U and 55 letters or digits)", (given) =>
  /^U[A-Z2-7]{55}$/.test(given),
);
const GRANT_BYTES_MAX = 65_536;

function wishOf(invocation: Invocation): AdminChoice {
  const role = invocation.text("role");
  if (role === undefined) throw new UsageError(`--role is needed: ${roles.allowed}`);
  const expires = invocation.text("expires");
  return {
    name: checkValue(label, "NAME", invocation.words[0]),
    role: checkValue(roles, "--role", role),
    ...(expires === undefined ? {} : { expires_s: checkValue(duration, "--expires", expires) }),
  };
}

async function add(invocation: Invocation, context: Context): Promise<undefined> {
  const wish = wishOf(invocation);
  const key = invocation.text("key");
  if (key !== undefined) return addKey(invocation, context, wish, key);
  const file = resolve(invocation.text("out") ?? `${wish.name}.creds`);
  refuseThere(file);
  const { text, view } = await withAdmin(invocation.settings, (admin) => admin.admins.add(wish));
  writeSecret(file, text);
  const way = await wayBeside(text, invocation.settings);
  print(invocation, context, { ...view, file }, () => {
    const ends = view.expires === null ? "does not end" : `ends ${agoText(view.expires)}`;
    const use = `meshd ${way}--creds ${file} node list`;
    return `${view.name} is ${view.role}; ${file} is secret and ${ends}. Try: ${use}\n`;
  });
}

/** Who asked by another address than those in the file needs it for the file, too. */
async function wayBeside(text: string, { nats }: Settings): Promise<string> {
  const { readPlace } = await import("../../control/index.js");
  const known = readPlace(text)?.servers ?? [];
  return nats === undefined || nats.some((url) => known.includes(url)) ? "" : `--nats ${nats} `;
}

async function addKey(
  invocation: Invocation,
  context: Context,
  wish: AdminChoice,
  given: string,
): Promise<undefined> {
  const key = checkValue(publicKey, "--key", given);
  const { settings } = invocation;
  const { text, view } = await withAdmin(settings, (admin) => admin.admins.addKey(wish, key));
  const out = invocation.text("out");
  if (out !== undefined) writeSecret(out, text);
  print(invocation, context, { ...view, grant: text }, () => (out === undefined ? text : ""));
}

function refuseThere(file: string): void {
  if (!existsSync(file)) return;
  const message = `${file} is there already; move it away, or name another with --out`;
  throw new CommandError("MESHD_FILE_EXISTS", message);
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const admins = await withAdmin(invocation.settings, (admin) => admin.admins.list());
  print(invocation, context, admins, adminsText);
}

function adminsText(admins: AdminView[]): string {
  const heads = ["ADMIN", "ROLE", "STATE", "ENDS", "MADE", "BY", "KEY"];
  const rows = admins.map((admin) => [
    admin.name,
    admin.role,
    admin.state,
    admin.expires === null ? "never" : agoText(admin.expires),
    agoText(admin.created),
    admin.createdBy === "" ? "meshd up" : admin.createdBy,
    admin.key,
  ]);
  return tableOr(heads, rows, "no administrators");
}

async function remove(invocation: Invocation, context: Context): Promise<undefined> {
  const [name = ""] = invocation.words;
  const done = await withAdmin(invocation.settings, (admin) => admin.admins.remove(name));
  print(invocation, context, done, () => `${done.removed} is no administrator any more\n`);
}

async function makeKey(invocation: Invocation, context: Context): Promise<undefined> {
  const [file = ""] = invocation.words;
  refuseThere(file);
  const { createAdminKey } = await import("../../control/index.js");
  const { publicKey: key, text } = createAdminKey();
  writeSecret(file, text);
  print(invocation, context, { key, file }, () => `${key}\n`);
}

async function take(invocation: Invocation, context: Context): Promise<undefined> {
  const [file = ""] = invocation.words;
  const from = invocation.text("grant");
  const path = resolve(file);
  const { adminCredentials, readPlace, seedIn } = await import("../../control/index.js");
  const seed = seedIn(readFileSync(file, "utf8"), file);
  const granted =
    from === undefined || from === "-"
      ? await context.readInput(GRANT_BYTES_MAX)
      : readFileSync(from, "utf8");
  writeSecret(path, adminCredentials(seed, granted));
  const mesh = readPlace(granted)?.mesh ?? "";
  const text = () => `${path} opens mesh ${mesh} now. Try: meshd --creds ${path} node list\n`;
  print(invocation, context, { file: path, mesh }, text);
}

async function recover(invocation: Invocation, context: Context): Promise<undefined> {
  const { loadMesh, recoverAdmin } = await import("../../control/index.js");
  const mesh = await loadMesh(meshDir(invocation.settings));
  const name = await recoverAdmin(mesh);
  const file = mesh.adminCredentials;
  const text = () => `${name} is admin now; ${file} is secret. See who else is: meshd admin list\n`;
  print(invocation, context, { name, file }, text);
}

const addCommand: Command = {
  usage: "NAME",
  about:
    "Makes an administrator and writes his credentials file, which is secret (0600). Roles: " +
    "observer reads; operator does the daily work (tokens, nodes, peers, leases, PPTP users, " +
    "bench); admin does everything (settings, grants, administrators). With --key the secret is " +
    "made elsewhere ('meshd admin key') and what is printed is none; with the key he has he gets " +
    "another role or a new end.",
  example: "meshd admin add anna --role operator --expires 30d",
  options: {
    role: { value: "ROLE", about: roles.allowed },
    expires: {
      value: "TIME",
      about: `${duration.allowed} (default 90d); 'meshd' renews them at half of it when used`,
    },
    key: { value: "KEY", about: "public key that 'meshd admin key' printed" },
    out: { value: "FILE", about: "where to write it (default NAME.creds; with --key: printed)" },
  },
  words: [1, 1],
  run: add,
};

export const command: CommandGroup = {
  about: "Administrators of the mesh: who may read, work, or change everything.",
  commands: {
    add: addCommand,
    list: {
      usage: "",
      about: "Lists administrators, with when the credentials of each end.",
      example: "meshd admin list",
      words: [0, 0],
      run: list,
    },
    remove: {
      usage: "NAME",
      about: "Ends an administrator's credentials at once, on all servers and over their restart.",
      example: "meshd admin remove anna",
      words: [1, 1],
      run: remove,
    },
    recover: {
      usage: "",
      about:
        "On a controller's host, when admin.creds is lost or its owner was removed: makes new " +
        "credentials of role admin from the mesh's own keys, in their place.",
      example: "meshd admin recover",
      words: [0, 0],
      run: recover,
    },
    key: {
      usage: "FILE",
      about:
        "Makes a key for an administrator to be: the file keeps the secret half (0600), the " +
        "public one is printed, for 'meshd admin add --key'.",
      example: "meshd admin key anna.creds",
      words: [1, 1],
      run: makeKey,
    },
    take: {
      usage: "FILE",
      about:
        "Makes the file of 'meshd admin key' a credentials file, with what 'meshd admin add " +
        "--key' printed, from standard input or --grant.",
      example: "meshd admin take anna.creds --grant anna.grant",
      options: { grant: { value: "FILE", about: "what was printed (default: standard input)" } },
      words: [1, 1],
      run: take,
    },
  },
};
