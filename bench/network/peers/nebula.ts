// Nebula, with a certificate authority of its own for each run.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { daemonKind, type End } from "./daemon.js";
import { describeProgram, programPath, whyMissing } from "./program.js";

/** IPv4, UDP, 16 of header and 16 of tag. */
const OVERHEAD = 60;

function certify(argv: string[]): void {
  execFileSync(programPath("nebula-cert"), argv, { stdio: ["ignore", "ignore", "pipe"] });
}

/** The authority's key stays in the client's folder; both get its certificate by path. */
function sign(authority: string[], { number, overlay, folder }: End): void {
  const out = ["-out-crt", join(folder, "host.crt"), "-out-key", join(folder, "host.key")];
  certify(["sign", ...authority, "-name", `host${number}`, "-ip", `${overlay}/24`, ...out]);
}

/** Settings as JSON, which is YAML too. The server is the lighthouse. */
export function settingsOf(end: End, authority: string): object {
  const { number, other, folder } = end;
  const any = [{ port: "any", proto: "any", host: "any" }];
  const isClient = number === 1;
  return {
    pki: { ca: authority, cert: join(folder, "host.crt"), key: join(folder, "host.key") },
    static_host_map: isClient ? { [other.overlay]: [`${other.address}:${other.port}`] } : {},
    lighthouse: { am_lighthouse: !isClient, hosts: isClient ? [other.overlay] : [] },
    listen: { host: end.address, port: end.port },
    tun: { dev: end.device, mtu: end.mtu },
    logging: { level: "error" },
    firewall: { outbound: any, inbound: any },
  };
}

function prepareOne(end: End, authority: string): string[] {
  const path = join(end.folder, "config.yml");
  writeFileSync(path, JSON.stringify(settingsOf(end, authority)), { mode: 0o600 });
  return [programPath("nebula"), "-config", path];
}

export const nebula = daemonKind({
  title: "nebula",
  network: 3,
  overhead: OVERHEAD,
  isAvailable: () => whyMissing("nebula", "nebula-cert"),
  version: () => `${describeProgram("nebula", "-version")}; AES-256-GCM`,
  prepare: (client, server) => {
    const files = { crt: join(client.folder, "ca.crt"), key: join(client.folder, "ca.key") };
    certify(["ca", "-name", "bench", "-out-crt", files.crt, "-out-key", files.key]);
    for (const end of [client, server]) {
      sign(["-ca-crt", files.crt, "-ca-key", files.key], end);
    }
    return [prepareOne(client, files.crt), prepareOne(server, files.crt)];
  },
});
