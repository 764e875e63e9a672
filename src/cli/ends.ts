// When credentials and certificates end, in words; those of a controller's host by its files.
import { authorityFingerprint, type Ends, hostEnds, type Mesh } from "../../control/index.js";
import type { Settings } from "../config/index.js";
import { meshDir } from "./admin.js";
import { readIfThere } from "./files.js";

/** Of the mesh's keys on this host, with warnings of what was not renewed in time. */
export function endsHere(settings: Pick<Settings, "stateDir">): {
  ends: Ends;
  warnings: string[];
} {
  const [admin, ca] = ["admin.creds", "ca.pem"].map((name) =>
    readIfThere(`${meshDir(settings)}/${name}`),
  );
  const server = readIfThere(`${settings.stateDir}/nats/tls/server.pem`);
  return hostEnds({
    ...(admin === undefined ? {} : { admin }),
    ...(ca === undefined ? {} : { ca }),
    ...(server === undefined ? {} : { server }),
  });
}

/** The mesh's CA on a controller's host: for `--nats-ca`, and to compare with others by hand. */
export interface ShownAuthority {
  file: string;
  /** SHA-256, 64 hex digits, as tokens have it. */
  fingerprint: string;
}

export function authorityHere({ dir, ca }: Pick<Mesh, "dir" | "ca">): ShownAuthority | null {
  const fingerprint = authorityFingerprint(ca);
  return fingerprint === null ? null : { file: `${dir}/ca.pem`, fingerprint };
}

/** One line; undefined when nothing ends, or an agent of an earlier version does not say it. */
export function endsText(ends: Ends | undefined): string | undefined {
  if (ends === undefined) return undefined;
  const { credentials, serverCertificate, ca } = ends;
  const parts = [
    ["credentials", credentials],
    ["server's certificate", serverCertificate],
    ["CA", ca],
  ].flatMap(([what, end]) => (end ? [`${what} ${end.slice(0, 16)}Z`] : []));
  return parts.length === 0 ? undefined : `${parts.join(", ")} (all but the CA renew themselves)`;
}
