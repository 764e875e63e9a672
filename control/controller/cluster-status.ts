// What administrators are told of the cluster: which servers and controllers of it live, whether
// the buckets have all their copies, and what is amiss, in words.
import { loadSecrets, type Mesh, serverName } from "../founding/index.js";
import type { Bucket, Link } from "../nats/index.js";
import type { ServersRecord } from "../records.js";
import { serverPlace } from "../tls/index.js";
import type { Colleagues, ColleagueView } from "./colleagues.js";
import { askServers, type ServersView } from "./server-views.js";

/** JSON of `meshd cluster status`; stable. */
export interface ClusterStatus {
  servers: ServerStatus[];
  /** Those that answered. */
  controllers: ColleagueView[];
  buckets: BucketStatus[];
  /** What is away or behind, and what to do; [] when all is well. */
  problems: string[];
}

export interface ServerStatus {
  /** As JetStream knows it. */
  name: string;
  /** Its address in the cluster's list; null: a server of somebody else, or the only one. */
  host: string | null;
  /** off: its JetStream switched itself off, after a full disk. */
  state: "up" | "missing" | "off";
  /** It decides where streams and watches are. */
  isLeader: boolean;
  /** It has all that the leader has. */
  isCurrent: boolean;
  version: string | null;
}

export interface BucketStatus {
  name: string;
  /** Copies there should be, and those that have everything; null: nobody leads the bucket now. */
  wanted: number | null;
  current: number | null;
  /** Name of the server that leads it. */
  leader: string | null;
}

export interface ClusterParts {
  mesh: Mesh;
  link: Link;
  buckets: Bucket[];
  colleagues: Colleagues;
  /** The list of servers in force; null: the mesh began with one. */
  record(): ServersRecord | null;
}

const copies_max_ms = 1_500;

/** Asks all at once; takes about a second, also when most are away. */
export async function clusterStatus(parts: ClusterParts): Promise<ClusterStatus> {
  const { mesh, colleagues, buckets } = parts;
  const [view, controllers, copies] = await Promise.all([
    serversOf(parts),
    colleagues.all(),
    Promise.all(buckets.map(bucketStatus)),
  ]);
  const hosts = ownHosts(parts.record());
  const servers = serverStatuses(mesh, hosts, view);
  const status = { servers, controllers, buckets: copies };
  return { ...status, problems: problemsOf(status, hosts) };
}

/** null: the system account is not ours, or no server answers it. */
async function serversOf({ mesh, link }: ClusterParts): Promise<ServersView | null> {
  try {
    const { system } = await loadSecrets(mesh);
    if (system === null || link.server === null) return null;
    const servers = [`${mesh.ca === null ? "nats" : "tls"}://${link.server}`];
    return await askServers({ servers, ca: () => mesh.ca }, system);
  } catch {
    return null;
  }
}

async function bucketStatus(bucket: Bucket): Promise<BucketStatus> {
  const none = { wanted: null, current: null, leader: null };
  const copies = await bucket.copies(copies_max_ms).catch(() => none);
  return { name: bucket.name, ...copies };
}

/** Hosts of a cluster that meshd itself runs; [] without one. */
function ownHosts(record: ServersRecord | null): string[] {
  const own = record?.servers.filter(({ routePort }) => routePort !== null) ?? [];
  return own.length < 2 ? [] : own.map(({ url }) => serverPlace(url).host);
}

function serverStatuses(mesh: Mesh, hosts: string[], view: ServersView | null): ServerStatus[] {
  const hostOf = new Map(hosts.map((host) => [serverName(mesh, host), host]));
  const names = new Set([...hostOf.keys(), ...(view?.members ?? [])]);
  return [...names].map((name) => {
    const found = view?.servers.find((one) => one.name === name);
    const about = { name, host: hostOf.get(name) ?? null };
    if (!found) {
      const away = { isLeader: false, isCurrent: false, version: null };
      return { ...about, state: "missing" as const, ...away };
    }
    const { isCurrent, isOff, version } = found;
    // One that is alone leads itself.
    const isLeader = view?.leader === name;
    return { ...about, state: isOff ? "off" : "up", isLeader, isCurrent, version };
  });
}

function problemsOf(status: Omit<ClusterStatus, "problems">, hosts: string[]): string[] {
  const { servers, controllers, buckets } = status;
  const isServed = (host: string) => controllers.some((one) => one.host === host);
  const perServer = servers.flatMap((server) => {
    const { name, host, state, isCurrent } = server;
    const place = host ?? name;
    if (state === "missing") return [missingText(place, host !== null && isServed(host))];
    if (state === "off") return [`JetStream of nats-server on ${place} is off: is its disk full?`];
    return isCurrent ? [] : [`nats-server on ${place} has not caught up with its leader`];
  });
  const unserved = hosts.filter(
    (host) =>
      !isServed(host) && servers.some((one) => one.host === host && one.state !== "missing"),
  );
  return [
    ...perServer,
    ...unserved.map((host) => `no controller answers on ${host}: 'meshd up' there starts it`),
    ...buckets.flatMap(bucketProblem),
  ];
}

function missingText(place: string, isServed: boolean): string {
  if (isServed) return `nats-server on ${place} does not answer; its controller starts it again`;
  return `${place} does not answer: start it again ('meshd up' there), or replace it`;
}

function bucketProblem({ name, wanted, current }: BucketStatus): string[] {
  if (wanted === null || current === null) {
    return [`no server leads bucket ${name} now: joins and changes wait`];
  }
  if (current >= wanted) return [];
  return [`bucket ${name} has ${current} of ${wanted} copies: it bears the loss of fewer servers`];
}
