// meshd lease list | audit | reclaim | reserve: who holds which PodCIDR.

import type { LeaseView } from "../../control/index.js";
import { checkValue, kinds } from "../config/index.js";
import { withAdmin } from "./admin.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { agoText, count, print, tableOr } from "./output.js";

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const leases = await withAdmin(invocation.settings, (admin) => admin.leases.list());
  print(invocation, context, leases, () =>
    tableOr(
      ["PODCIDR", "STATE", "NODE", "EPOCH", "SINCE", "FREE"],
      leases.map((lease) => [
        lease.cidr,
        lease.free ? "free" : lease.state,
        lease.name ?? lease.nodeId,
        lease.epoch,
        agoText(lease.since),
        freeText(lease),
      ]),
      "no leases",
    ),
  );
}

/** When another node may have it. Who answers may have another clock than we. */
function freeText({ until, free }: LeaseView): string | null {
  if (until === null) return null;
  const when = agoText(until);
  return free || when.startsWith("in ") ? when : "soon";
}

async function audit(invocation: Invocation, context: Context): Promise<undefined> {
  const findings = await withAdmin(invocation.settings, (admin) => admin.leases.audit());
  print(invocation, context, findings, () =>
    tableOr(
      ["PODCIDR", "PROBLEM", "NODE", "DETAIL"],
      findings.map((finding) => [finding.cidr, finding.kind, finding.nodeId, finding.detail]),
      "leases and members agree",
    ),
  );
}

async function reclaim(invocation: Invocation, context: Context): Promise<undefined> {
  const [cidr] = invocation.words;
  const done = await withAdmin(invocation.settings, (admin) => admin.leases.reclaim(cidr));
  print(invocation, context, done, ({ reclaimed, findings }) => {
    const left = findings.length === 0 ? "" : `; ${count(findings.length, "problem")} left`;
    const what = reclaimed.length === 0 ? "nothing to reclaim" : `reclaimed ${reclaimed.join(" ")}`;
    return `${what}${left}\n`;
  });
}

async function reserve(invocation: Invocation, context: Context): Promise<undefined> {
  const cidr = checkValue(kinds.anyCidr, "CIDR", invocation.words[0]);
  const lease = await withAdmin(invocation.settings, (admin) => admin.leases.reserve(cidr));
  const text = () => `${lease.cidr} is reserved: no node gets it until 'meshd lease reclaim'\n`;
  print(invocation, context, lease, text);
}

export const command: CommandGroup = {
  about: "PodCIDR leases. A lease ends by leave, removal or reclaim, never by time.",
  commands: {
    list: {
      usage: "",
      about: "Lists all leases, resting ones too.",
      example: "meshd lease list --json",
      words: [0, 0],
      run: list,
    },
    audit: {
      usage: "",
      about: "Compares leases with members and says what does not fit; changes nothing.",
      example: "meshd lease audit",
      words: [0, 0],
      run: audit,
    },
    reclaim: {
      usage: "[CIDR]",
      about: "Mends what audit finds; with a CIDR it ends that lease, whoever holds it.",
      example: "meshd lease reclaim 10.244.7.0/24",
      words: [0, 1],
      run: reclaim,
    },
    reserve: {
      usage: "CIDR",
      about:
        "Keeps a PodCIDR of the pool from being given to a node; 'meshd lease reclaim CIDR' " +
        "frees it again.",
      example: "meshd lease reserve 10.244.9.0/24",
      words: [1, 1],
      run: reserve,
    },
  },
};
