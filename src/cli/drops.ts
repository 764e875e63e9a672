// meshd drops: packets that ended here, by reason, with a sentence for each.
import { explainDrop } from "../telemetry/index.js";
import type { DropRow } from "./agent-answers.js";
import { askAgent, isObject } from "./agent-client.js";
import type { Command, Context, Invocation } from "./command.js";
import { print } from "./output.js";

export const command: Command = {
  usage: "",
  about:
    "Shows why packets were dropped on this node since the agent started: egress is from pods to " +
    "the mesh, ingress from the mesh to pods. docs/drop-reasons.md has all reasons.",
  example: "meshd drops --json",
  options: { all: { about: "show reasons that have not occurred, too" } },
  words: [0, 0],
  run,
};

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const answer = await askAgent(invocation.settings, "/drops");
  const rows = (Array.isArray(answer) ? answer : isObject(answer) ? answer.drops : []) as DropRow[];
  const shown = rows
    .filter((row) => invocation.has("all") || row.packets > 0)
    .sort((left, right) => right.packets - left.packets)
    .map((row) => ({ ...row, meaning: explainDrop(row.reason) }));
  print(invocation, context, shown, dropsText);
}

function dropsText(rows: readonly (DropRow & { meaning: string })[]): string {
  if (rows.length === 0) return "no packet was dropped\n";
  return rows
    .map(
      (row) =>
        `${row.reason}  ${row.direction}  ${row.packets} packets  ${row.bytes} bytes\n` +
        `    ${row.meaning}\n`,
    )
    .join("");
}
