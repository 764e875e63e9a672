// fastd with the method "null": it knows its peer, then neither encrypts nor authenticates what it
// carries. The fastest it can do.
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { daemonKind, type End } from "./daemon.js";
import { describeProgram, programPath, whyMissing } from "./program.js";

/** As kernel VXLAN and meshd have it, though it adds but 29. */
const OVERHEAD = 50;

interface Keys {
  secret: string;
  public: string;
}

/** Its curve is its own, so it must make the keys itself. */
function makeKeys(): Keys {
  const options: ExecFileSyncOptionsWithStringEncoding = {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  };
  const text = execFileSync(programPath("fastd"), ["--generate-key"], options);
  const [secret, known] = ["Secret", "Public"].map(
    (name) => new RegExp(`^${name}: ([0-9a-f]{64})$`, "m").exec(text)?.[1],
  );
  if (secret === undefined || known === undefined) throw new Error("fastd made no keys");
  return { secret, public: known };
}

/** Configuration of one end; both call. */
export function settingsOf(end: End, own: Keys, other: Keys): string {
  const peer = `key "${other.public}"; remote ${end.other.address}:${end.other.port};`;
  const lines = [
    "log to stderr level error;",
    "mode tun;",
    `interface "${end.device}";`,
    `mtu ${end.mtu};`,
    'method "null";',
    `bind ${end.address}:${end.port};`,
    `secret "${own.secret}";`,
    `peer "host${end.other.number}" { ${peer} }`,
  ];
  return `${lines.join("\n")}\n`;
}

function prepareOne(end: End, own: Keys, other: Keys): string[] {
  const path = join(end.folder, "fastd.conf");
  writeFileSync(path, settingsOf(end, own, other), { mode: 0o600 });
  return [programPath("fastd"), "--config", path];
}

export const fastd = daemonKind({
  title: "fastd",
  network: 6,
  overhead: OVERHEAD,
  isAvailable: () => whyMissing("fastd"),
  version: () => `${describeProgram("fastd", "--version")}; method null`,
  prepare: (client, server) => {
    const keys = [makeKeys(), makeKeys()] as const;
    return [prepareOne(client, keys[0], keys[1]), prepareOne(server, keys[1], keys[0])];
  },
});
