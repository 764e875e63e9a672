// When credentials and certificates end, in words; those of a controller's host by its files.
import { type Ends, hostEnds } from "../../control/index.js";
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
