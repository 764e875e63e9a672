// meshd keys list | move: which keys of the mesh are on this host, and which need not be.
import {
  AdminClient,
  loadMesh,
  moveOfflineKeys,
  type Rotatable,
  type RotationStep,
  rotatable,
  rotate,
} from "../../control/index.js";
import { meshDir } from "./admin.js";
import { type CommandGroup, type Context, type Invocation, UsageError } from "./command.js";
import { readIfThere } from "./files.js";
import { givenAuthorities } from "./nats-ca.js";
import { print, tableOr } from "./output.js";

/** File, and who needs it. */
const FILES: readonly (readonly [string, string])[] = [
  ["operator.nk", "nothing that runs: keep it off this host; it makes new signing keys"],
  ["account.nk", "nothing that runs: keep it off this host"],
  ["operator-signing.nk", "controllers: revocations"],
  ["account-signing.nk", "controllers: credentials of nodes, tokens and administrators"],
  ["account-signing.next.nk", "controllers, while that key changes: the one to come"],
  ["grant.nk", "controllers: every record they write"],
  ["system.creds", "controllers: hand revocations to the servers"],
  ["controller.creds", "controllers: their connection"],
  ["ca.key", "controllers beside a nats-server: its certificate"],
  ["ca.next.key", "the same, while the CA changes: the one to come"],
  ["admin.creds", "the first administrator"],
];

/** Only while a key changes. */
const PASSING = new Set(["account-signing.next.nk", "ca.next.key"]);

interface KeyView {
  file: string;
  here: boolean;
  neededBy: string;
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const { dir } = await loadMesh(meshDir(invocation.settings));
  const keys: KeyView[] = FILES.flatMap(([file, neededBy]) => {
    const here = readIfThere(`${dir}/${file}`) !== undefined;
    return here || !PASSING.has(file) ? [{ file: `${dir}/${file}`, here, neededBy }] : [];
  });
  print(invocation, context, keys, () =>
    tableOr(
      ["FILE", "HERE", "NEEDED BY"],
      keys.map(({ file, here, neededBy }) => [file, here ? "yes" : "no", neededBy]),
      "no keys",
    ),
  );
}

async function move(invocation: Invocation, context: Context): Promise<undefined> {
  const [folder = ""] = invocation.words;
  const mesh = await loadMesh(meshDir(invocation.settings));
  const moved = await moveOfflineKeys(mesh, folder);
  const text = () =>
    `moved to ${moved.join(" and ")}: keep them off this host, and a copy of them elsewhere\n`;
  print(invocation, context, { moved }, text);
}

const ABOUT: Record<Rotatable, string> = {
  ca: "the CA of nats-servers' certificates",
  "account-signing": "the key that signs all credentials",
};

function said(what: Rotatable, { step, copy }: RotationStep, dir: string): string {
  const again = `'meshd keys rotate ${what}'`;
  const lines: Record<RotationStep["step"], string> = {
    begun: `${ABOUT[what]}: a new one is trusted beside the old one; members hear of it now\n`,
    "in-use": `${ABOUT[what]}: the new one is in use, the old one is still trusted\n`,
    ended: `${ABOUT[what]}: the old one is not taken any more\n`,
  };
  const next = step === "ended" ? "" : `next, when all took it: ${again} once more\n`;
  const files = copy.map((file) => `${dir}/${file}`).join(" ");
  const others =
    copy.length > 0 ? `other controllers' hosts: copy ${files} to the same folder there now\n` : "";
  return lines[step] + others + next;
}

async function runRotate(invocation: Invocation, context: Context): Promise<undefined> {
  const [word] = invocation.words;
  const what = rotatable.find((one) => one === word);
  if (what === undefined) throw new UsageError(`rotate what? One of ${rotatable.join(", ")}`);
  const mesh = await loadMesh(meshDir(invocation.settings));
  const ca = givenAuthorities(invocation.settings);
  const done = await rotate(mesh, what, {
    force: invocation.has("force"),
    ...(ca === undefined ? {} : { ca }),
    report: async () => {
      const admin = await AdminClient.forMesh(mesh);
      return admin.keys.report().finally(() => admin.close());
    },
  });
  print(invocation, context, { what, ...done }, () => said(what, done, mesh.dir));
}

/** What `up` says while the keys that nothing reads are still here; undefined when they are not. */
export function offlineKeysNote(here: readonly string[]): string | undefined {
  if (here.length === 0) return undefined;
  const files = here.map((path) => path.split("/").at(-1)).join(" and ");
  return `${files}: nothing that runs reads them; 'meshd keys move DIR' takes them off this host`;
}

export const command: CommandGroup = {
  about: "Keys of the mesh on a controller's host.",
  commands: {
    list: {
      usage: "",
      about: "Lists the key files of the mesh, which of them are here, and who needs each.",
      example: "meshd keys list",
      words: [0, 0],
      run: list,
    },
    rotate: {
      usage: "WHAT",
      about:
        "Does the next step of a change of a key while the mesh runs: ca (what nats-servers' " +
        "certificates are signed with: begun, in use, ended) or account-signing (what signs all " +
        "credentials: begun, ended). The last step waits until every member took the new one.",
      example: "meshd keys rotate account-signing",
      options: { force: { about: "do the step though not all are ready for it" } },
      words: [1, 1],
      run: runRotate,
    },
    move: {
      usage: "DIR",
      about:
        "Moves the operator's and the account's own key to a folder on another disk; nothing " +
        "that runs reads them. They are written there and read back before they go here.",
      example: "meshd keys move /media/safe/mesh-keys",
      words: [1, 1],
      run: move,
    },
  },
};
