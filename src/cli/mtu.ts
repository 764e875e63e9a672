// meshd mtu explain: every term of the sum that decides how large packets to a peer may be.
import type { MtuExplanation } from "./agent-answers.js";
import { askAgent } from "./agent-client.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { durationText, fields, print } from "./output.js";

async function explain(invocation: Invocation, context: Context): Promise<undefined> {
  const [peer = ""] = invocation.words;
  const path = `/mtu/${encodeURIComponent(peer)}`;
  const answer = (await askAgent(invocation.settings, path)) as MtuExplanation;
  print(invocation, context, answer, explanationText);
}

/** One line of the sum: sign, number, what it is. */
function line(sign: string, bytes: number | null, what: string): string {
  return `  ${sign.padEnd(2)}${`${bytes ?? "?"}`.padStart(6)}  ${what}\n`;
}

function sumLines(it: MtuExplanation): string {
  const [first, ...taken] = it.terms;
  return [
    line("", first?.bytes ?? 0, first?.what ?? ""),
    ...taken.map(({ what, bytes }) => line("-", -bytes, what)),
    line("=", it.fits, "what our interface leaves for inner packets"),
  ].join("");
}

function pathText({ path }: MtuExplanation): string {
  if (path === null) return "the path is the kernel's to find: no tunnel, no probes";
  const ago = (ms: number | null) => (ms === null ? "" : `, ${durationText(ms)} ago`);
  const { least, base, most } = path.searched;
  const state = {
    base: "goes on with the base size while the true one is looked for",
    search: `searching between ${least} and ${most}`,
    complete: `proven by probes${ago(path.proven_ms)}`,
    error: `not even ${least} bytes get through`,
  }[path.state];
  const both = path.isRoundTrip ? "; both ways together, for echo comes back as large" : "";
  const changed = path.changed_ms === null ? "" : `; changed${ago(path.changed_ms).slice(1)}`;
  return `the path: ${state}${changed}${both} (base ${base})`;
}

function limitLines(it: MtuExplanation): string {
  const { device, path, peerSays, setting } = it;
  const said = peerSays === null ? "" : line("", peerSays, `${it.peer} says of its own side`);
  const found = path === null ? it.mtu : path.mtu;
  return [
    line("", device.mtu, `${device.name} and pods of this node (mtu: ${setting})`),
    said,
    line("", found, pathText(it)),
    line("=", it.mtu, `inner packets to ${it.peer}, at most`),
  ].join("");
}

function isTunnelled({ ways }: MtuExplanation): boolean {
  return ways.ipv4 === "tunnel" || ways.ipv6 === "tunnel";
}

function mssText({ mss }: MtuExplanation): string {
  if (mss === null) return "left as it is";
  return `${mss.ipv4} (IPv4), ${mss.ipv6} (IPv6) at most in TCP handshakes, both ways`;
}

function fragmentsText({ fragments }: MtuExplanation): string {
  return fragments ? "IPv6 up to 1280 bytes travels in outer fragments" : "none";
}

function explanationText(it: MtuExplanation): string {
  const { underlay } = it;
  const back = it.path?.back ?? null;
  const rest = fields([
    ["mss", mssText(it)],
    ["fragments", fragmentsText(it)],
    ["way back", back === null ? "not known here" : `${it.peer} sends at most ${back} to us`],
    ...(it.problem === null ? [] : ([["problem", it.problem]] as const)),
  ]);
  const how = isTunnelled(it)
    ? `${it.protocol} over IPv${underlay.family}`
    : `without a tunnel (${it.ways.ipv4 ?? it.ways.ipv6})`;
  const head = `${it.peer} (${it.kind}) at ${underlay.peer}, ${how}\n`;
  return [head, sumLines(it), limitLines(it), rest].join("");
}

export const command: CommandGroup = {
  about: "Sizes of packets: what the underlay and the path to a peer leave of them.",
  commands: {
    explain: {
      usage: "PEER",
      about:
        "Adds up why packets to a peer are no larger: the underlay interface, every header of " +
        "the tunnel, the settings, what the peer says, and what probes found of the path; then " +
        "what TCP is told, and whether outer fragments are in use. The agent answers.",
      example: "meshd mtu explain n2 --json",
      words: [1, 1],
      run: explain,
    },
  },
};
