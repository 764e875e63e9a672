// The certificate of a nats-server that runs: made, and renewed by the process that started it.
import { join } from "node:path";
import {
  type Cluster,
  ensureServerCertificate,
  type Mesh,
  type ServerCertificate,
  serverPlace,
} from "../../control/index.js";

export interface CertificateOptions {
  mesh: Mesh;
  /** Directory of the server. */
  dir: string;
  /** Address it listens on. */
  host: string;
  cluster?: Cluster;
  /**
   * Names and addresses that its certificate is for beside the address it listens on, loopback, the
   * mesh's servers and its cluster's. A mesh without a CA has nats-servers without TLS.
   */
  hosts?: readonly string[];
  /** Seconds its certificate lasts; default 90 days. */
  certificate_s?: number;
  /** Hears of each renewal, and why one failed: it is tried again. */
  onRenewal?: (renewed: ServerCertificate | Error) => void;
}

/** The certificate of the server in a directory, made or renewed as needed; null: no TLS. */
export async function certificateFor(
  options: CertificateOptions,
): Promise<ServerCertificate | null> {
  const { mesh, dir, host, cluster, hosts = [], certificate_s } = options;
  if (mesh.ca === null) return null;
  const listens = ["0.0.0.0", "::"].includes(host) ? [] : [host];
  const known = mesh.servers.map((server) => serverPlace(server).host);
  const others = cluster?.servers.map((server) => server.host) ?? [];
  const all = ["localhost", "127.0.0.1", "::1", ...listens, ...known, ...others, ...hosts];
  return ensureServerCertificate(mesh.dir, {
    ...{ dir: join(dir, "tls"), hosts: all },
    ...(certificate_s === undefined ? {} : { life_s: certificate_s }),
  });
}

const look_max_ms = 30_000;
const looks = 20;

/**
 * Renews at half of its life, and has the server `reload` it; in operator mode it ends its clients'
 * connections then, which come back within a second. Looks every half minute (of short lives twenty
 * times): the CA may have become another. Ends when the server does.
 */
export function keepRenewed(
  options: CertificateOptions,
  server: { running(): Promise<boolean>; reload(): void },
  onNew: (certificate: ServerCertificate) => void,
): void {
  const { certificate_s = Number.POSITIVE_INFINITY, onRenewal } = options;
  const wait_ms = Math.min(look_max_ms, (certificate_s * 1000) / looks);
  const look = async () => {
    if (!(await server.running())) return clearInterval(timer);
    const certificate = await certificateFor(options);
    if (!certificate?.isNew) return;
    server.reload();
    onNew(certificate);
    onRenewal?.(certificate);
  };
  const failed = (error: unknown) =>
    onRenewal?.(error instanceof Error ? error : new Error(String(error)));
  const timer = setInterval(() => void look().catch(failed), wait_ms);
  timer.unref();
}
