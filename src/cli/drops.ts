// meshd drops: packets that ended here, by reason, with a sentence for each.
import { dropNames, explainDrop, HOST_DROPS } from "../telemetry/index.js";
import type { DropRow } from "./agent-answers.js";
import { askAgent, isObject } from "./agent-client.js";
import type { Command, Context, Invocation } from "./command.js";
import { print } from "./output.js";

export const command: Command = {
  usage: "",
  about:
    "Shows why packets were dropped on this node since the agent started: egress is from pods to " +
    "the mesh, ingress from the mesh to pods. docs/drop-reasons.md has all reasons. Of what " +
    "came from the mesh, the last packet of each reason is described.",
  example: "meshd drops --json",
  options: { all: { about: "show reasons that have not occurred, too" } },
  words: [0, 0],
  run,
};

async function run(invocation: Invocation, context: Context): Promise<undefined> {
  const answer = await askAgent(invocation.settings, "/drops");
  const rows = (Array.isArray(answer) ? answer : isObject(answer) ? answer.drops : []) as DropRow[];
  const shown = (invocation.has("all") ? withEveryReason(rows) : rows.filter(hasOccurred))
    .sort((left, right) => right.packets - left.packets)
    .map((row) => ({ ...row, meaning: explainDrop(row.reason) }));
  print(invocation, context, shown, dropsText);
}

const hasOccurred = (row: DropRow) => row.packets > 0;

/** The agent leaves out what has not occurred. */
function withEveryReason(rows: readonly DropRow[]): DropRow[] {
  const missing = (["egress", "ingress"] as const).flatMap((direction) =>
    dropNames
      .filter((name) => !rows.some((row) => row.reason === name && row.direction === direction))
      .map((reason) => ({ reason, direction, packets: 0, bytes: 0 })),
  );
  const beside = HOST_DROPS.filter(({ reason }) => !rows.some((row) => row.reason === reason));
  return [...rows, ...missing, ...beside.map((one) => ({ ...one, packets: 0, bytes: 0 }))];
}

function dropsText(rows: readonly (DropRow & { meaning: string })[]): string {
  if (rows.length === 0) return "no packet was dropped\n";
  return rows
    .map(
      (row) =>
        `${row.reason}  ${row.direction}  ${row.packets} packets  ${row.bytes} bytes\n` +
        `    ${row.meaning}\n${row.last === undefined ? "" : lastText(row.last)}`,
    )
    .join("");
}

/** One line of the last packet that ended so. */
function lastText(last: NonNullable<DropRow["last"]>): string {
  const { age_ms, protocol, from, peer, length, vni, identity, source, destination } = last;
  const parts = [
    `last ${Math.round(age_ms / 1000)} s ago: ${length} bytes of ${protocol}`,
    peer === null ? `from ${from}` : `from ${peer} (${from})`,
    ...(identity === null ? [] : [`identity ${identity}`]),
    ...(vni === null ? [] : [`network number ${vni}`]),
    ...(source === null ? [] : [`${source} -> ${destination}`]),
  ];
  return `    ${parts.join(", ")}\n`;
}
