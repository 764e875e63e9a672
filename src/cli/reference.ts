// The text of docs/commands.md: every command's help and every setting, from the program itself.
import { flagOf, SETTINGS, settingNames, variableOf } from "../config/index.js";
import { type Command, isGroup } from "./command.js";
import { commandHelp } from "./help.js";
import { COMMANDS } from "./table.js";

const HEAD = `# Commands and settings

This page is written by \`meshd help --markdown\` from the program itself.

Every command takes \`--json\` (stable field names) and \`--help\`. Exit code: 0 done, 1 failed,
2 wrong usage; an error is one line on standard error: what, why, what to do. With \`--json\` it is
also on standard output as \`{"error": {"code", "message"}}\`.
`;

const SETTINGS_HEAD = `## Settings

Settings come from one YAML file (\`/etc/meshd/meshd.yaml\`; \`meshd.yaml\` in the state directory
where that is not the default one; or \`--config FILE\`), what the first \`meshd join\` was given,
\`MESHD_*\` variables and flags, in rising order. A flag also goes by the setting's own name:
\`--tunnelPort\` is \`--tunnel-port\`. An unknown key or a bad value is refused.

Settings of the **mesh** hold for all nodes: given once to \`meshd up\`, then changed by
\`meshd config set\`. Settings of a **node** are its own, given to \`meshd join\`. **Both**: a
setting of the mesh that a node may set for itself.

| setting | flag | variable | where | default | allowed | meaning |
|---|---|---|---|---|---|---|
`;

/** The whole page. */
export async function referencePage(): Promise<string> {
  const parts: string[] = [];
  for (const [name, entry] of Object.entries(COMMANDS)) {
    const { command } = await entry.load();
    if (!isGroup(command)) parts.push(section(name, command));
    else {
      const below = Object.entries(command.commands);
      parts.push(`### meshd ${name}\n\n${command.about}\n`);
      parts.push(...below.map(([word, one]) => section(`${name} ${word}`, one)));
    }
  }
  const rows = settingNames.map(settingRow).join("");
  return `${HEAD}\n## Commands\n\n${parts.join("\n")}\n${SETTINGS_HEAD}${rows}`;
}

function section(name: string, command: Command): string {
  const [help = ""] = commandHelp(name, command).split("\nOptions of every command:");
  return `#### meshd ${name}\n\n\`\`\`\n${help.trimEnd()}\n\`\`\`\n`;
}

function settingRow(name: (typeof settingNames)[number]): string {
  const { scope, initial, kind, about } = SETTINGS[name];
  const cells = [
    `\`${name}\``,
    `\`--${flagOf(name)}\``,
    `\`${variableOf(name)}\``,
    scope,
    initial === undefined ? "" : `\`${initial}\``,
    kind.allowed,
    about,
  ];
  return `| ${cells.join(" | ")} |\n`;
}
