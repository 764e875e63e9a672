// meshd config get | set: the settings of the whole mesh.
import type { AdminClient, MeshConfig } from "../../control/index.js";
import {
  ConfigError,
  checkSetting,
  isSettingName,
  type MeshSettingName,
  meshSettingNames,
  SETTINGS,
  unknownKey,
} from "../config/index.js";
import { withAdmin } from "./admin.js";
import type { AgentStatus } from "./agent-answers.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { print, table, warningLines } from "./output.js";
import { settingNotes } from "./setting-notes.js";

/** Nodes whose status is asked for after a change, so that it ends soon in a large mesh. */
const NODES_ASKED_MAX = 100;

/** @throws ConfigError for a name that is no setting of the mesh */
function meshSetting(word: string): MeshSettingName {
  const name = meshSettingNames.find((one) => one === word);
  if (name !== undefined) return name;
  if (!isSettingName(word)) throw unknownKey(word, meshSettingNames);
  const message = `${word}: is a setting of one node; give it to 'meshd join --${word} ...' there`;
  throw new ConfigError("MESHD_CONFIG_UNKNOWN_KEY", message);
}

async function get(invocation: Invocation, context: Context): Promise<undefined> {
  const [word] = invocation.words;
  const name = word === undefined ? undefined : meshSetting(word);
  const config = await withAdmin(invocation.settings, (admin) => admin.config.get());
  if (name === undefined) print(invocation, context, config, configText);
  else print(invocation, context, { [name]: config[name] }, () => `${config[name]}\n`);
}

function configText(config: MeshConfig): string {
  const rows = Object.entries(config).map(([name, value]) => [
    name,
    String(value) || "none",
    isSettingName(name) ? SETTINGS[name].about : "",
  ]);
  return table(["SETTING", "VALUE", "MEANING"], rows);
}

async function set(invocation: Invocation, context: Context): Promise<undefined> {
  const [word = "", given] = invocation.words;
  const name = meshSetting(word);
  const value = checkSetting(name, given);
  const { config, warnings } = await withAdmin(invocation.settings, async (admin) => {
    const config = await admin.config.set(name, value);
    const large = name === "mtu" ? await tooLarge(admin, config.mtu) : [];
    return { config, warnings: [...settingNotes(name, config), ...large] };
  });
  const shown = { [name]: config[name], ...(warnings.length === 0 ? {} : { warnings }) };
  const text = () => `${name} is ${String(config[name]) || "none"} now\n${warningLines(warnings)}`;
  print(invocation, context, shown, text);
}

/**
 * A line for each node whose underlay does not carry packets of that size. Nodes that do not answer
 * say it in their own status; so do those of more than are asked.
 */
export async function tooLarge(
  admin: { nodes: Pick<AdminClient["nodes"], "list" | "status"> },
  mtu: MeshConfig["mtu"],
): Promise<string[]> {
  if (mtu === "auto") return [];
  const online = (await admin.nodes.list()).filter((node) => node.online);
  const asked = online.slice(0, NODES_ASKED_MAX).map(async ({ nodeId, name }) => {
    const status = (await admin.nodes.status(nodeId).catch(() => null)) as AgentStatus | null;
    // Agents of earlier versions do not say it.
    const { mtuFits = mtu, underlay } = status ?? {};
    if (mtuFits >= mtu || underlay === undefined) return [];
    const carries = `${underlay.interface} (mtu ${underlay.mtu}) carries ${mtuFits}`;
    return [`${name}: ${carries}: full packets of ${mtu} get lost; set mtu auto`];
  });
  return (await Promise.all(asked)).flat();
}

export const command: CommandGroup = {
  about: "Settings of the whole mesh; a change reaches all agents without a restart.",
  commands: {
    get: {
      usage: "[NAME]",
      about: "Shows all settings, or one.",
      example: "meshd config get mtu",
      words: [0, 1],
      run: get,
    },
    set: {
      usage: "NAME VALUE",
      about:
        "Changes a setting on all nodes. Where a setting cannot change in a running mesh, the " +
        "command says so and changes nothing.",
      example: "meshd config set masquerade false",
      words: [2, 2],
      run: set,
    },
  },
};
