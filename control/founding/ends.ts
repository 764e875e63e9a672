// When what proves one to the other ends: credentials, the server's certificate, the CA.
import { X509Certificate } from "node:crypto";
import { type Link, parseCredentials, readUserJwt } from "../nats/index.js";

/** RFC 3339 each; null: never, or there is none. */
export interface Ends {
  credentials: string | null;
  /** Of the server in use, as it showed it. */
  serverCertificate: string | null;
  ca: string | null;
}

/** What a member's session knows of it, and warnings of what is not renewed in time. */
export function endsOf(
  member: { jwt: string; ca?: string },
  link: Pick<Link, "certificate"> | null,
): { ends: Ends; warnings: string[] } {
  return told({
    credentials: ["this node's credentials", readTimes(member.jwt)],
    serverCertificate: ["the NATS server's certificate", link?.certificate ?? null],
    ca: ["the mesh's CA", member.ca === undefined ? null : certificateTimes(member.ca)],
  });
}

/** The same of a controller's host, by its files; undefined: there is none. */
export function hostEnds(files: Partial<Record<"admin" | "server" | "ca", string>>): {
  ends: Ends;
  warnings: string[];
} {
  const { admin, server, ca } = files;
  return told({
    credentials: ["admin.creds", admin ? readTimes(parseCredentials(admin).jwt) : null],
    serverCertificate: ["nats-server's certificate", server ? certificateTimes(server) : null],
    ca: ["the mesh's CA", ca ? certificateTimes(ca) : null],
  });
}

function told(known: Record<keyof Ends, [string, Times | null]>) {
  const lasting = Object.values(known).flatMap(([what, times]) =>
    times ? [{ what, ...times }] : [],
  );
  const text = ([, times]: [string, Times | null]) => times?.ends.toISOString() ?? null;
  const { credentials, serverCertificate, ca } = known;
  return {
    ends: {
      credentials: text(credentials),
      serverCertificate: text(serverCertificate),
      ca: text(ca),
    },
    warnings: endWarnings(lasting),
  };
}

export interface Times {
  begins: Date;
  ends: Date;
}

/** When user credentials were given and when they end; null: never. */
export function readTimes(jwt: string): Times | null {
  const claims = readUserJwt(jwt);
  if (claims === null || claims.expires === null) return null;
  return { begins: new Date(claims.issued * 1000), ends: new Date(claims.expires * 1000) };
}

/** The same of a certificate, the first of a PEM text. */
export function certificateTimes(pem: string): Times {
  const { validFrom, validTo } = new X509Certificate(pem);
  return { begins: new Date(validFrom), ends: new Date(validTo) };
}

export interface Lasting extends Times {
  what: string;
}

const share = 10;

/** A line for each that is within the last tenth of its life, or over. */
export function endWarnings(all: readonly Lasting[], now = new Date()): string[] {
  return all.flatMap(({ what, begins, ends }) => {
    const left_ms = ends.getTime() - now.getTime();
    if (left_ms > (ends.getTime() - begins.getTime()) / share) return [];
    const when = ends.toISOString();
    const state = left_ms > 0 ? "near their end, not renewed in time" : "over";
    return [`${what}: ${state} (${when}); see "Certificates and credentials" in operations.md`];
  });
}
