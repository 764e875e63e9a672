// OpenVPN between two hosts: TLS with self-signed certificates known by fingerprint, AES-256-GCM,
// --fast-io, and the data path in its own process, not in a kernel module.
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { daemonKind, type End } from "./daemon.js";
import { describeProgram, programPath, whyMissing } from "./program.js";

/** Ours for all that encrypt; it needs 52: IPv4, UDP, 4 of peer, 4 of packet id, 16 of tag. */
const OVERHEAD = 60;
const CIPHER = "AES-256-GCM";
const DAYS_VALID = "2";

const keyOf = ({ folder }: End) => join(folder, "host.key");
const certificateOf = ({ folder }: End) => join(folder, "host.crt");

function certify(end: End): void {
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const what = ["-x509", "-sha256", "-days", DAYS_VALID, "-subj", `/CN=host${end.number}`];
  const out = ["-keyout", keyOf(end), "-out", certificateOf(end)];
  execFileSync(programPath("openssl"), ["req", ...what, ...kind, ...out], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  chmodSync(keyOf(end), 0o600);
}

/** Arguments of one end. The server's part is that of the TLS server. */
export function argumentsOf(end: End, peerFingerprint: string): string[] {
  const { address, other, port, device, mtu } = end;
  return [
    ...["--mode", "p2p", "--dev", device, "--dev-type", "tun", "--proto", "udp4"],
    ...["--local", address, "--lport", `${port}`, "--remote", other.address, `${other.port}`],
    ...(end.number === 1 ? ["--tls-client"] : ["--tls-server", "--dh", "none"]),
    ...["--cert", certificateOf(end), "--key", keyOf(end)],
    ...["--peer-fingerprint", peerFingerprint, "--data-ciphers", CIPHER],
    ...["--disable-dco", "--fast-io", "--tun-mtu", `${mtu}`, "--mssfix", "0", "--verb", "1"],
  ];
}

function commandOf(end: End): string[] {
  const peer = new X509Certificate(readFileSync(certificateOf(end.other)));
  return [programPath("openvpn"), ...argumentsOf(end, peer.fingerprint256)];
}

export const openvpn = daemonKind({
  title: "openvpn",
  network: 5,
  overhead: OVERHEAD,
  isAvailable: () => whyMissing("openvpn", "openssl"),
  version: () => `${describeProgram("openvpn", "--version")}; ${CIPHER}, --fast-io, no DCO`,
  prepare: (client, server) => {
    certify(client);
    certify(server);
    return [commandOf(client), commandOf(server)];
  },
});
