// The CA of a mesh and the certificates it gives to nats-servers, as files (0600): made once,
// renewed at half of their life.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { rm } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import { type Certified, makeAuthority, makeServerCertificate } from "./certificates.js";

const day_s = 86_400;
/** How long certificates last, in seconds. */
export const certificateLife = { authority_s: 3_653 * day_s, server_s: 90 * day_s };

/**
 * Certificates begin a day before they are made: the clock of a host may be behind, and age says
 * nothing about whom to trust.
 */
const early_ms = day_s * 1000;

const files = { key: "ca.key", trusted: "ca.pem", nextKey: "ca.next.key", next: "ca.next.pem" };

/** Path of the CA certificates that a mesh trusts, PEM, the one that signs first. */
export const trustedFile = (meshDir: string) => join(meshDir, files.trusted);

/** PEM of the CAs that a mesh's directory trusts; null for a mesh made before there was one. */
export function readTrusted(meshDir: string): Promise<string | null> {
  return readTextFile(trustedFile(meshDir));
}

/** Makes the CA of a mesh unless its directory has one. */
export async function ensureAuthority(meshDir: string, mesh: string, now = new Date()) {
  if ((await readTrusted(meshDir)) !== null) return;
  const validity = validityOf(now, certificateLife.authority_s);
  const made = await makeAuthority(`meshd CA of ${mesh}`, validity);
  await writeSecretFile(join(meshDir, files.key), made.key);
  await writeSecretFile(trustedFile(meshDir), made.certificate);
}

function validityOf(now: Date, life_s: number) {
  const until = new Date(now.getTime() + life_s * 1000);
  return { from: new Date(now.getTime() - early_ms), until };
}

/**
 * Certificate (PEM) and key of the CA that signs here: of those trusted the one whose key is in
 * this directory; null when none is.
 */
async function readAuthority(meshDir: string): Promise<Certified | null> {
  const key = await readTextFile(join(meshDir, files.key));
  if (key === null) return null;
  const own = createPrivateKey(key);
  const certificate = pemBlocks((await readTrusted(meshDir)) ?? "").find((pem) =>
    new X509Certificate(pem).checkPrivateKey(own),
  );
  return certificate === undefined ? null : { certificate, key };
}

/**
 * The CA that is to come after the one of now, PEM; made unless there is one already. Nothing signs
 * with it before promoteAuthority.
 */
export async function prepareAuthority(
  meshDir: string,
  mesh: string,
  now = new Date(),
): Promise<string> {
  const there = await nextAuthority(meshDir);
  if (there !== null) return there;
  const validity = validityOf(now, certificateLife.authority_s);
  // A name of its own: two CAs of one name are told apart by their keys alone.
  const made = await makeAuthority(`meshd CA of ${mesh}, ${now.toISOString()}`, validity);
  await writeSecretFile(join(meshDir, files.nextKey), made.key);
  await writeSecretFile(join(meshDir, files.next), made.certificate);
  return made.certificate;
}

/** The CA that is to come, PEM; null: none is. */
export function nextAuthority(meshDir: string): Promise<string | null> {
  return readTextFile(join(meshDir, files.next));
}

/** From now on servers' certificates made here are signed by the CA that was to come. */
export async function promoteAuthority(meshDir: string): Promise<void> {
  const key = await readTextFile(join(meshDir, files.nextKey));
  if (key !== null) await writeSecretFile(join(meshDir, files.key), key);
  await rm(join(meshDir, files.next), { force: true });
  await rm(join(meshDir, files.nextKey), { force: true });
}

/** Makes these the CAs that the mesh trusts, PEM, the one that signs first. */
export async function writeTrusted(meshDir: string, authorities: readonly string[]): Promise<void> {
  await writeSecretFile(trustedFile(meshDir), authorities.join(""));
}

export interface ServerCertificateOptions {
  /** Directory of its files; made when absent. */
  dir: string;
  /** Names and addresses that clients and other servers reach it by. */
  hosts: readonly string[];
  /** Seconds it lasts; default 90 days. */
  life_s?: number;
  now?: Date;
}

/** What nats-server's `tls` block names. */
export interface ServerCertificate {
  /** Holds key, certificate and CA: one file, so that no reader sees halves of two. */
  file: string;
  /** CAs that clients (routes) are checked against. */
  caFile: string;
  ends: Date;
  /** It, or the CAs beside it, were written by this call. */
  isNew: boolean;
}

/**
 * Gives the certificate of a nats-server; makes one when there is none, when half of its life is
 * over, when hosts are missing in it or the CA is another. MESHD_NO_MESH when one is to be made and
 * the CA's key is not in the mesh's directory.
 */
export async function ensureServerCertificate(
  meshDir: string,
  options: ServerCertificateOptions,
): Promise<ServerCertificate> {
  const { dir, life_s = certificateLife.server_s, now = new Date() } = options;
  const file = join(dir, "server.pem");
  const caFile = join(dir, files.trusted);
  const trusted = await readTrusted(meshDir);
  if (trusted === null) {
    const what = `${meshDir} has no ${files.trusted}: "meshd up" makes it`;
    throw new ControlError("MESHD_NO_MESH", what);
  }
  const isNew = (await readTextFile(caFile)) !== trusted;
  if (isNew) await writeSecretFile(caFile, trusted);
  const half = new Date(now.getTime() + (life_s * 1000) / 2);
  const hosts = [...new Set(options.hosts.map((host) => host.replace(/%.*$/, "")))];
  const authority = await readAuthority(meshDir);
  const issuers = authority === null ? pemBlocks(trusted) : [authority.certificate];
  const kept = keptEnd((await readTextFile(file)) ?? "", issuers, hosts);
  if (kept !== null && kept > half) return { file, caFile, ends: kept, isNew };
  if (authority === null) {
    if (kept !== null && kept > now) return { file, caFile, ends: kept, isNew };
    const what =
      `${meshDir} has no ${files.key}, which signs the certificates of nats-servers: copy it ` +
      "there from where it is kept";
    throw new ControlError("MESHD_NO_MESH", what);
  }
  const validity = validityOf(now, life_s);
  const made = await makeServerCertificate(authority, hosts, validity);
  await writeSecretFile(file, made.key + made.certificate + authority.certificate);
  return { file, caFile, ends: validity.until, isNew: true };
}

/** When the certificate in a server's file ends; null when it does not do any more. */
function keptEnd(text: string, issuers: string[], hosts: readonly string[]): Date | null {
  const [leafPem, issuerPem] = pemBlocks(text);
  if (leafPem === undefined || issuerPem === undefined) return null;
  if (!issuers.includes(issuerPem)) return null;
  try {
    const leaf = new X509Certificate(leafPem);
    const isSigned = leaf.verify(new X509Certificate(issuerPem).publicKey);
    const isWhole = isSigned && leaf.checkPrivateKey(createPrivateKey(text));
    return isWhole && hosts.every((host) => names(leaf, host)) ? new Date(leaf.validTo) : null;
  } catch {
    // Damaged: another one is made.
    return null;
  }
}

/** Whether a certificate is for a host, name or address. */
export function names(certificate: X509Certificate, host: string): boolean {
  const named = isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host);
  return named !== undefined;
}

/** Certificates in a PEM text, each with its armour and a newline. */
export function pemBlocks(text: string): string[] {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  return (found ?? []).map((block) => `${block}\n`);
}
