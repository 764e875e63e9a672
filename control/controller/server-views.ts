// What the nats-servers say of themselves and of one another: asked over the system account, which
// every server of a cluster answers.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { loadSecrets, type Mesh } from "../founding/index.js";
import { Link, type LinkOptions, signingKey, type User } from "../nats/index.js";
import { inboxOf } from "../subjects.js";

/** One server as it answered. */
export interface ServerView {
  /** Its name in the cluster. */
  name: string;
  version: string;
  /** Whether it leads JetStream's own group: who decides where streams and watches are. */
  isLeader: boolean;
  /** Whether it has all that the leader has, by the leader's word; alone, always. */
  isCurrent: boolean;
  /** Its JetStream switched itself off, after a full disk: until it is started again. */
  isOff: boolean;
}

/** All servers that answered, and those that the leader knows of. */
export interface ServersView {
  servers: ServerView[];
  /** Names of servers that the cluster counts on, with those that did not answer. */
  members: string[];
  /** null: nobody leads now, and JetStream takes no changes of streams and watches. */
  leader: string | null;
}

/** Servers answer within milliseconds. */
const wait_ms = 700;

interface Answer {
  server?: { name?: string; ver?: string };
  data?: {
    disabled?: boolean;
    meta_cluster?: {
      leader?: string;
      replicas?: { name: string; current: boolean; offline?: boolean }[];
    };
  };
}

/** MESHD_NO_NATS; MESHD_PERMISSION where the system account is not ours. */
export async function askServers(
  way: Pick<LinkOptions, "servers" | "ca">,
  system: User,
): Promise<ServersView> {
  const inbox = inboxOf.controller(signingKey(system.seed).publicKey);
  const link = await Link.open({ ...way, user: () => system, inbox, name: "meshd servers" });
  try {
    const answers: Answer[] = [];
    const reply = `${inbox}.${randomBytes(8).toString("hex")}`;
    link.subscribe(reply, ({ text }) => {
      const answer = parsed(text);
      if (answer) answers.push(answer);
    });
    link.publish("$SYS.REQ.SERVER.PING.JSZ", "{}", reply);
    await sleep(wait_ms);
    return viewOf(answers);
  } finally {
    await link.close();
  }
}

function parsed(text: string): Answer | null {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return null;
  }
}

function viewOf(answers: Answer[]): ServersView {
  const groups = answers.map((one) => ({ ...one.data?.meta_cluster, name: one.server?.name }));
  const told = groups.find((group) => group.leader !== undefined && group.leader === group.name);
  const known = new Map((told?.replicas ?? []).map((one) => [one.name, one]));
  const servers = answers.map((one): ServerView => {
    const name = one.server?.name ?? "";
    const isLeader = told !== undefined && name === told.name;
    const others = groups.find((group) => group.name === name)?.leader !== undefined;
    const isCurrent = isLeader || !others || known.get(name)?.current === true;
    const isOff = one.data?.disabled === true;
    return { name, version: one.server?.ver ?? "", isLeader, isCurrent, isOff };
  });
  const members = [...new Set([...servers.map((one) => one.name), ...known.keys()])].sort();
  const isAlone = answers.length === 1 && groups[0]?.leader === undefined;
  const leader = isAlone ? (servers[0]?.name ?? null) : (told?.name ?? null);
  return { servers, members, leader };
}

/** Whether a server of a cluster has its JetStream switched off; false when nobody says so. */
export async function isJetStreamOff(mesh: Mesh, url: string, name: string): Promise<boolean> {
  const { system } = await loadSecrets(mesh);
  if (system === null) return false;
  try {
    const { servers } = await askServers({ servers: [url], ca: () => mesh.ca }, system);
    return servers.some((one) => one.name === name && one.isOff);
  } catch {
    return false;
  }
}
