// meshd config get | set: the settings of the whole mesh.
import type { MeshConfig } from "../../control/index.js";
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
import type { CommandGroup, Context, Invocation } from "./command.js";
import { print, table } from "./output.js";

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
    String(value),
    isSettingName(name) ? SETTINGS[name].about : "",
  ]);
  return table(["SETTING", "VALUE", "MEANING"], rows);
}

async function set(invocation: Invocation, context: Context): Promise<undefined> {
  const [word = "", text] = invocation.words;
  const name = meshSetting(word);
  const value = checkSetting(name, text);
  const config = await withAdmin(invocation.settings, (admin) => admin.config.set(name, value));
  print(invocation, context, { [name]: config[name] }, () => `${name} is ${config[name]} now\n`);
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
