// Whom a connection takes for a server of the mesh: the CA that a token names by its fingerprint,
// what TLS is told, and what went wrong in words.
import { createHash, X509Certificate } from "node:crypto";
import { connect as connectTcp, type Socket } from "node:net";
import {
  type ConnectionOptions,
  connect as connectTls,
  type DetailedPeerCertificate,
  type PeerCertificate,
  checkServerIdentity as standardCheck,
} from "node:tls";
import { ControlError } from "../errors.js";
import { names, pemBlocks } from "./authority.js";

/** PEM of CAs; "system" = those that this host trusts; null = none is known. */
export type TrustedAuthorities = string | "system" | null;

/** SHA-256 of a certificate's DER, 64 hex digits. */
export function fingerprintOf(certificate: Buffer | string): string {
  const der = typeof certificate === "string" ? new X509Certificate(certificate).raw : certificate;
  return createHash("sha256").update(der).digest("hex");
}

/** Fingerprint of the CA that signs, the first in a mesh's bundle; null when there is none. */
export function authorityFingerprint(trusted: string | null): string | null {
  const [first] = pemBlocks(trusted ?? "");
  return first === undefined ? null : fingerprintOf(first);
}

export function isFingerprint(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{64}$/.test(text);
}

/**
 * What the NATS client hands to TLS, read anew at every attempt. Undefined: TLS only where the
 * server asks for it. With `ca`, or with a server written tls://, there is no connection without.
 */
export function tlsOptions(
  servers: readonly string[],
  ca: () => TrustedAuthorities,
  onServer: (peer: PeerCertificate) => void = () => undefined,
): ConnectionOptions | undefined {
  const isAsked = servers.some((server) => server.startsWith("tls://"));
  if (ca() === null && !isAsked) return undefined;
  return {
    get ca() {
      const trusted = ca();
      return trusted === null || trusted === "system" ? undefined : trusted;
    },
    minVersion: "TLSv1.2",
    checkServerIdentity(this: unknown, host: string, peer: PeerCertificate) {
      const wrong = checkIdentity(this, host, peer);
      if (wrong === undefined) onServer(peer);
      return wrong;
    },
  };
}

/**
 * The standard check, but for servers that are reached by address: there the client names no host,
 * and the check would be against "localhost". `options` are those of the TLS connection.
 */
function checkIdentity(options: unknown, host: string, peer: PeerCertificate): Error | undefined {
  const { servername, socket } = (options ?? {}) as { servername?: string; socket?: Socket };
  return standardCheck(servername ? host : (socket?.remoteAddress ?? ""), peer);
}

/**
 * Gets the CA that has this fingerprint from the first server that shows it, in PEM; nothing is
 * sent but a TLS handshake. MESHD_TLS_MISSING, MESHD_TLS_MISMATCH, MESHD_NO_NATS.
 */
export async function fetchAuthority(
  servers: readonly string[],
  fingerprint: string,
  timeout_ms: number,
): Promise<string> {
  let refused: ControlError | null = null;
  let silent: ControlError | null = null;
  for (const server of servers) {
    try {
      return await authorityOf(server, fingerprint, timeout_ms);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (error.code === "MESHD_NO_NATS") silent ??= error;
      else refused ??= error;
    }
  }
  throw refused ?? silent ?? noServer();
}

function noServer(): ControlError {
  const what =
    'the token names no NATS server; make a new one with "meshd token create", or give --nats URL';
  return new ControlError("MESHD_NO_NATS", what);
}

const info_max = 65_536;

async function authorityOf(server: string, fingerprint: string, timeout_ms: number) {
  const { host, port } = serverPlace(server);
  const socket = connectTcp({ host, port });
  const late = setTimeout(() => socket.destroy(new Error("no answer in time")), timeout_ms);
  try {
    const info = await infoOf(socket);
    if (info.tls_required !== true && info.tls_available !== true) throw plainError(server);
    const chain = await chainOf(socket);
    return chosen(server, host, chain, fingerprint);
  } catch (cause) {
    if (cause instanceof ControlError) throw cause;
    const what = `no NATS server answers at ${server} (${messageOf(cause)})`;
    throw new ControlError("MESHD_NO_NATS", `${what}; check that it runs and is reachable`, {
      cause,
    });
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

/** Host and port of a server as somebody wrote it. */
export function serverPlace(server: string): { host: string; port: number } {
  const bare = server.replace(/^[a-z]+:\/\//, "");
  try {
    // A scheme without a port of its own: the parser leaves out one that a scheme has.
    const { hostname, port } = new URL(`nats://${bare}`);
    return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 4222 : Number(port) };
  } catch (cause) {
    const what = `${JSON.stringify(server)} is no address of a NATS server: use tls://HOST:PORT`;
    throw new ControlError("MESHD_NO_NATS", what, { cause });
  }
}

/** The server's first line, as JSON. */
function infoOf(socket: Socket): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    let text = "";
    const read = (bytes: Buffer) => {
      text += bytes.toString("latin1");
      const end = text.indexOf("\r\n");
      if (end < 0 && text.length < info_max) return;
      socket.off("data", read);
      try {
        if (!text.startsWith("INFO ")) throw new Error("it is no NATS server");
        resolve(JSON.parse(text.slice(5, end)) as Record<string, unknown>);
      } catch (error) {
        reject(error);
      }
    };
    socket.on("data", read);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("it closed the connection")));
  });
}

/** What the server shows in the handshake, DER, its own first. Nobody is believed here. */
function chainOf(socket: Socket): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const secure = connectTls({ socket, rejectUnauthorized: false, minVersion: "TLSv1.2" });
    secure.once("error", reject);
    secure.once("close", () => reject(new Error("it closed the connection")));
    secure.once("secureConnect", () => {
      resolve(rawChain(secure.getPeerCertificate(true)));
      secure.destroy();
    });
  });
}

const chain_max = 8;

function rawChain(leaf: DetailedPeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  let at: DetailedPeerCertificate | undefined = leaf;
  while (at?.raw !== undefined && chain.length < chain_max) {
    chain.push(at.raw);
    // A self-signed one is its own issuer.
    at = at.issuerCertificate === at ? undefined : at.issuerCertificate;
  }
  return chain;
}

/** The CA among what a server showed, when that server's certificate is its work. */
function chosen(server: string, host: string, chain: Buffer[], fingerprint: string): string {
  const authority = chain.slice(1).find((one) => fingerprintOf(one) === fingerprint);
  if (authority === undefined) {
    const last = chain.at(-1);
    const shown = last === undefined ? "none" : fingerprintOf(last).slice(0, 16);
    throw mismatch(
      server,
      `its CA has the fingerprint ${shown}..., the token says ${fingerprint.slice(0, 16)}...`,
    );
  }
  const issuer = new X509Certificate(authority);
  const leaf = new X509Certificate(chain[0] ?? authority);
  if (!issuer.ca || !leaf.checkIssued(issuer) || !leaf.verify(issuer.publicKey)) {
    throw mismatch(server, "its certificate is not signed by the CA it shows");
  }
  if (!names(leaf, host)) throw mismatch(server, namesOthers(leaf.subjectAltName ?? "nobody"));
  return issuer.toString();
}

const namesOthers = (whom: string) =>
  `its certificate is for ${whom}; "meshd up --advertise" names the address that others use`;

function mismatch(server: string, why: string, cause?: unknown): ControlError {
  const what =
    `${server} does not prove to be a server of this mesh: ${why}. Nothing was sent to it; if ` +
    'nobody stands between, join with a new token, or give the CA that "meshd up" shows by ' +
    "--nats-ca FILE (MESHD_NATS_CA)";
  return new ControlError("MESHD_TLS_MISMATCH", what, { cause });
}

function plainError(server: string, cause?: unknown): ControlError {
  const what =
    `${server} does not offer TLS, and this mesh's servers do: it may be another server, or ` +
    "somebody in between. Nothing was sent to it; check the address";
  return new ControlError("MESHD_TLS_MISSING", what, { cause });
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

const broken: Record<string, string> = {
  CERT_HAS_EXPIRED: "its certificate has ended, or the clock of this host is wrong",
  CERT_NOT_YET_VALID: "its certificate does not hold yet: the clock of one host is wrong",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself alone",
  SELF_SIGNED_CERT_IN_CHAIN: "its CA is not one that is trusted here",
  UNABLE_TO_GET_ISSUER_CERT: "its CA is not one that is trusted here",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its CA is not one that is trusted here",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its CA is not one that is trusted here",
  CERT_SIGNATURE_FAILURE: "its certificate is not signed by the CA it names",
};

/** An error of connecting that is about TLS, in words; null when it is about something else. */
export function tlsErrorOf(servers: readonly string[], cause: unknown): ControlError | null {
  const where = servers.join(",");
  for (let at: unknown = cause; at instanceof Error; at = chainedError(at)) {
    const code = "code" in at ? String(at.code) : "";
    if (code === "SERVER_OPT_NA" && at.message.includes("tls")) return plainError(where, cause);
    if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
      return mismatch(where, namesOthers(String((at as { reason?: string }).reason)), cause);
    }
    const why = broken[code];
    if (why !== undefined) return mismatch(where, why, cause);
  }
  return null;
}

const chainedError = (error: Error): unknown =>
  "chainedError" in error ? error.chainedError : error.cause;
