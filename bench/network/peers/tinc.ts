// tinc 1.0, router mode, cipher and digest as they come: AES-256-CBC, 4 bytes of HMAC-SHA-256.
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { daemonKind, type End } from "./daemon.js";
import { describeProgram, programPath, whyMissing } from "./program.js";

/** IPv4, UDP, 4 of sequence, 14 of Ethernet, 4 of HMAC, up to 16 of padding; even. */
const OVERHEAD = 64;
const RSA_BITS = 2048;
const PEM = { type: "pkcs1", format: "pem" } as const;

const makeKeys = () =>
  generateKeyPairSync("rsa", {
    modulusLength: RSA_BITS,
    publicKeyEncoding: PEM,
    privateKeyEncoding: PEM,
  });

const nameOf = ({ number }: End) => `host${number}`;

/** tinc.conf of one end; the client calls. */
export function settingsOf(end: End): string {
  const lines = [
    `Name = ${nameOf(end)}`,
    `Interface = ${end.device}`,
    "DeviceType = tun",
    "AddressFamily = ipv4",
    // While it still searches it sends what is long by TCP, for seconds; we know that all fits.
    "PMTUDiscovery = no",
    `BindToAddress = ${end.address} ${end.port}`,
    ...(end.number === 1 ? [`ConnectTo = ${nameOf(end.other)}`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** What one end's file in hosts/ tells the other. */
export function hostFileOf(end: End, publicKey: string): string {
  const { address, port, overlay } = end;
  return `Address = ${address} ${port}\nPort = ${port}\nSubnet = ${overlay}/32\n${publicKey}`;
}

function prepareBoth(ends: readonly [End, End]): void {
  const keys = ends.map(makeKeys);
  for (const [index, { folder }] of ends.entries()) {
    mkdirSync(join(folder, "hosts"), { mode: 0o700 });
    const write = (name: string, text: string) =>
      writeFileSync(join(folder, name), text, { mode: 0o600 });
    write("tinc.conf", settingsOf(ends[index] as End));
    write("rsa_key.priv", keys[index]?.privateKey ?? "");
    for (const [at, end] of ends.entries()) {
      write(join("hosts", nameOf(end)), hostFileOf(end, keys[at]?.publicKey ?? ""));
    }
  }
}

function commandOf({ folder }: End): string[] {
  const files = [`--config=${folder}`, `--pidfile=${join(folder, "pid")}`];
  return [programPath("tincd"), "--no-detach", ...files];
}

export const tinc = daemonKind({
  title: "tinc",
  network: 4,
  overhead: OVERHEAD,
  isAvailable: () => whyMissing("tincd"),
  version: () => `${describeProgram("tincd", "--version")}; AES-256-CBC`,
  prepare: (client, server) => {
    prepareBoth([client, server]);
    return [commandOf(client), commandOf(server)];
  },
});
