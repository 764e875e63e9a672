// meshd keys list | move: which keys of the mesh are on this host, and which need not be.
import { loadMesh, moveOfflineKeys } from "../../control/index.js";
import { meshDir } from "./admin.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { readIfThere } from "./files.js";
import { print, tableOr } from "./output.js";

/** File, and who needs it. */
const FILES: readonly (readonly [string, string])[] = [
  ["operator.nk", "nothing that runs: keep it off this host; it makes new signing keys"],
  ["account.nk", "nothing that runs: keep it off this host"],
  ["operator-signing.nk", "controllers: revocations"],
  ["account-signing.nk", "controllers: credentials of nodes, tokens and administrators"],
  ["grant.nk", "controllers: every record they write"],
  ["system.creds", "controllers: hand revocations to the servers"],
  ["controller.creds", "controllers: their connection"],
  ["ca.key", "controllers beside a nats-server: its certificate"],
  ["admin.creds", "the first administrator"],
];

interface KeyView {
  file: string;
  here: boolean;
  neededBy: string;
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const { dir } = await loadMesh(meshDir(invocation.settings));
  const keys: KeyView[] = FILES.map(([file, neededBy]) => {
    return { file: `${dir}/${file}`, here: readIfThere(`${dir}/${file}`) !== undefined, neededBy };
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
