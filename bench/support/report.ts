// The tables of a network run as text, with what is missing from them.
import { CARRIERS } from "../network/carriers.js";
import type { Results } from "./results.js";

const CELLS = "median (min-max), ratios of medians (min-max of single rounds)";

function versionLines(results: Results): string[] {
  return [...results.versions].map(([name, version]) => `${CARRIERS[name].title}: ${version}`);
}

function missingLines(results: Results): string[] {
  const absent = results.absences.map(
    ({ carrier, reason }) => `${CARRIERS[carrier].title}: not measured: ${reason}`,
  );
  const failed = results.failures.map(({ leg, round, carrier, measure, reason }) => {
    const where = round === 0 ? leg : `${leg}, round ${round}`;
    return `FAILED: ${where}, ${CARRIERS[carrier].title}, ${measure}: ${reason}`;
  });
  return [...absent, ...failed];
}

/** A table per leg; `titles` says what a leg is. */
export function formatResults(results: Results, titles: ReadonlyMap<string, string>): string {
  const tables = results.legs().flatMap((leg) => {
    return [`${titles.get(leg) ?? leg}; ${CELLS}`, "", results.table(leg), ""];
  });
  const parts = [...tables, ...versionLines(results), ...missingLines(results)];
  return parts.join("\n").trimEnd();
}
