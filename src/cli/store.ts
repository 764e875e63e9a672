// meshd store report | accept: what became of a store that came back empty or older.
import type { StoreView } from "../../control/index.js";
import { withAdmin } from "./admin.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { agoText, count, print, tableOr } from "./output.js";

/** Single records of a report; all of them are in its JSON. */
const SHOWN_MAX = 20;

async function report(invocation: Invocation, context: Context): Promise<undefined> {
  const view = await withAdmin(invocation.settings, (admin) => admin.store.report());
  print(invocation, context, view, reportText);
}

async function accept(invocation: Invocation, context: Context): Promise<undefined> {
  const view = await withAdmin(invocation.settings, (admin) => admin.store.accept());
  print(invocation, context, view, () => "new leases and settings are given again\n");
}

function reportText({ incident, holdOff_s, findings, unheard }: StoreView): string {
  if (incident === null) return "the store was never lost or older, as far as is known\n";
  const { kind, found, counts, failed } = incident;
  const what = kind === "empty" ? "empty" : "older than it had been";
  const records = counts.reduce((sum, one) => sum + one.records, 0);
  return [
    `found ${what} ${agoText(found)} (${found}); ${count(records, "record")} put back\n`,
    holdOff_s > 0 ? `nothing new is given for ${holdOff_s} s; 'meshd store accept' ends it\n` : "",
    countsText(incident),
    ...failed.slice(0, SHOWN_MAX).map(({ key, reason }) => `not put back: ${key}: ${reason}\n`),
    ...findings.map(({ cidr, detail }) => `in doubt: ${cidr}: ${detail}; 'meshd lease audit'\n`),
    unheardText(unheard),
  ].join("");
}

function countsText({ counts }: NonNullable<StoreView["incident"]>): string {
  const rows = counts.map(({ kind, was, by, records }) => [kind, was, by, records]);
  return tableOr(["RECORDS", "STORE HAD", "BACK FROM", "NUMBER"], rows, "nothing was put back");
}

/** Who may still have something newer. */
function unheardText(unheard: StoreView["unheard"]): string {
  if (unheard.length === 0) return "every member was heard since: nothing more will come back\n";
  const names = unheard.slice(0, SHOWN_MAX).map(({ name, own }) => (own ? `${name} (!)` : name));
  const more = unheard.length > SHOWN_MAX ? `, and ${unheard.length - SHOWN_MAX} more` : "";
  const mark = unheard.some(({ own }) => own) ? "; (!) its own record is missing until then" : "";
  return `not heard yet, may hold newer records: ${names.join(", ")}${more}${mark}\n`;
}

export const command: CommandGroup = {
  about:
    "What became of the NATS store when it came back empty or older, as from a backup: " +
    "controllers and members put back what they remember.",
  commands: {
    report: {
      usage: "",
      about:
        "Shows the last time that the store came back with less than it had: what was put back " +
        "and who had it, what does not fit together, and which members may still have more. Also " +
        "in store-report.json beside the mesh's keys.",
      example: "meshd store report --json",
      words: [0, 0],
      run: report,
    },
    accept: {
      usage: "",
      about:
        "Ends the hold-off: new leases and settings are given at once, whatever members could " +
        "still hand back.",
      example: "meshd store accept",
      words: [0, 0],
      run: accept,
    },
  },
};
