// From nothing to a node with a plan: lock, key, membership, first view of the cluster,
// conflicts. What is refused here leaves the host as it was, and a lease taken for nothing is
// given back.
import {
  type Identity,
  loadOrCreateIdentity,
  MemberSession,
  type Membership,
  type MeshConfig,
  type MeshSnapshot,
  writeMembership,
} from "../../control/index.js";
import type { Underlay } from "../host/index.js";
import { Pods } from "../pods/index.js";
import { keepMark, refuseCopy, refuseKnownCopy, watchForCopies } from "./duplicate.js";
import { AgentError, messageOf } from "./errors.js";
import { makePrivateDirectory, removeDrafts, removeFiles } from "./files.js";
import { checkFilter, filterWish } from "./filter-keeper.js";
import { KeptView } from "./kept-view.js";
import { localFacts } from "./local.js";
import { StateLock } from "./lock.js";
import { type Joined, obtainMembership } from "./membership.js";
import { type AgentPaths, pathsOf } from "./paths.js";
import { plan, poolsOf } from "./plan/plan.js";
import type { Plan } from "./plan/types.js";
import { wayRules } from "./plan/ways.js";
import { formatPrefix } from "./prefix.js";
import type { AgentLog, AgentOptions } from "./types.js";
import { checkFree, checkHost, checkPools, chooseUnderlay, underlayWish } from "./underlay.js";

/** How long a start waits for its first view of the cluster, and for its own record in it. */
const VIEW_TIMEOUT_MS = 30_000;

export interface Booted {
  lock: StateLock;
  paths: AgentPaths;
  deviceName: string;
  session: MemberSession;
  membership: Membership;
  underlay: Underlay;
  pods: Pods;
  config: MeshConfig;
  plan: Plan;
  /** Said in status: conflicts that are only worth a warning. */
  warnings: readonly string[];
  /** For a start that is refused after all: ends the session, gives a fresh lease back, unlocks. */
  undo(): Promise<void>;
  /** This start made the node a member. */
  fresh: boolean;
  kept: KeptView;
}

async function connect(
  options: AgentOptions,
  paths: AgentPaths,
  identity: Identity,
  { membership, saved }: Pick<Joined, "membership"> & { saved: string | null },
  asked: Asked,
  log: AgentLog,
): Promise<MemberSession> {
  const session = await MemberSession.connect({
    membership,
    identity,
    status: () => asked.status(),
    answers: { bench: async (request) => asked.bench(request) },
    log,
    secretsDir: options.stateDir,
    ...(options.servers === undefined ? {} : { servers: options.servers }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(saved === null ? {} : { saved }),
    ...(options.version === undefined ? {} : { version: options.version }),
  });
  session.on("membership", (renewed: Membership) => {
    writeMembership(paths.membership, renewed).catch((error: unknown) => {
      log("agent.membership.failed", { error: messageOf(error) });
    });
  });
  return session;
}

/** Waits until the view holds our own record; a store that lost it may get it back from us. */
async function firstPlan(
  session: MemberSession,
  make: (snapshot: MeshSnapshot) => Plan,
): Promise<Plan> {
  const deadline = performance.now() + VIEW_TIMEOUT_MS;
  let snapshot = await session.ready(VIEW_TIMEOUT_MS);
  let made = make(snapshot);
  while (made.hold && performance.now() < deadline) {
    await nextSnapshot(session, deadline - performance.now());
    snapshot = session.snapshot() ?? snapshot;
    made = make(snapshot);
  }
  if (made.hold) {
    const why = made.problems[0]?.message ?? "nothing is known of this node in the mesh";
    throw new AgentError("MESHD_NO_VIEW", why);
  }
  // A removed node starts too: it carries nothing, says so, and can be left in order.
  return made;
}

function nextSnapshot(session: MemberSession, timeout_ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      session.off("snapshot", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(timeout_ms, 0));
    session.on("snapshot", done);
  });
}

/** What is asked over NATS: the agent's status, and requests of a bench. */
export interface Asked {
  status(): unknown;
  bench(request: unknown): Promise<unknown>;
}

interface Prepared {
  lock: StateLock;
  paths: AgentPaths;
  deviceName: string;
  options: AgentOptions;
  log: AgentLog;
}

async function openMember(
  { options, paths, deviceName, lock, log }: Prepared,
  identity: Identity,
  joined: Joined,
  session: MemberSession,
): Promise<Omit<Booted, "kept">> {
  const { membership } = joined;
  const { podCIDRs } = membership;
  const own = { stateDir: options.stateDir, device: deviceName, podCidrs: podCIDRs, mtu: 1280 };
  const pods = await Pods.open({ ...own, log });
  const snapshot = await session.ready(VIEW_TIMEOUT_MS);
  const pools = poolsOf(snapshot);
  const left = wayRules(snapshot.config).left.map(formatPrefix);
  const things = { devices: [deviceName, ...pods.devices()], pools, left };
  const underlay = await chooseUnderlay(underlayWish(options, snapshot.config), things);
  const warnings = await checkPools(underlay, things);
  const servers = options.servers ?? membership.servers;
  await checkFilter(filterWish(options), { underlayDevice: underlay.device, servers });
  const local = localFacts(options, identity.nodeId, deviceName, underlay);
  const made = await firstPlan(session, (view) => plan({ snapshot: view, local }));
  const { config } = session.snapshot() ?? snapshot;
  return {
    ...{ lock, paths, deviceName, session, membership, underlay, pods, config, warnings },
    plan: made,
    fresh: joined.fresh,
    undo: async () => {
      await undoJoin(joined, session, paths, log);
      await lock.release();
    },
  };
}

async function bootLocked(prepared: Prepared, asked: Asked): Promise<Booted> {
  const { options, paths, deviceName, log } = prepared;
  const { key, membership, ca, duplicate, snapshot, host, flips, dials, pods } = paths;
  await removeDrafts(key, membership, ca, duplicate, snapshot, host, flips, dials, pods);
  const identity = await loadOrCreateIdentity(paths.key);
  await refuseKnownCopy(paths.duplicate, identity);
  const joined = await obtainMembership(options, paths, identity, log, async (port) => {
    const own = { devices: [deviceName], pools: [] };
    const { address, family } = await chooseUnderlay(underlayWish(options, null), own);
    await checkFree(deviceName, { family, address, port });
    return address;
  }).catch(async (error: unknown) => {
    await keepMark(paths.duplicate, identity.nodeId, error);
    throw error;
  });
  // What was good before this node joined again may say that it was removed.
  const { kept, saved } = await KeptView.open(paths.snapshot, joined.anew);
  const known = { membership: joined.membership, saved };
  const session = await connect(options, paths, identity, known, asked, log);
  watchForCopies(session, paths.duplicate, log);
  try {
    await refuseCopy(session, joined.anew);
    return { ...(await openMember(prepared, identity, joined, session)), kept };
  } catch (error) {
    await undoJoin(joined, session, paths, log);
    throw error;
  }
}

/** Ends the session; a membership that this start made is given back with its lease. */
async function undoJoin(
  joined: Joined,
  session: MemberSession,
  paths: AgentPaths,
  log: AgentLog,
): Promise<void> {
  if (joined.fresh) {
    await session.leave().catch((error: unknown) => {
      log("agent.leave.failed", { error: messageOf(error) });
    });
    await removeFiles(paths.membership, paths.ca, paths.snapshot);
  }
  await session.close();
}

/**
 * Everything before the first packet. `asked` answers questions that come over NATS.
 * @throws AgentError, ControlError, HostError: one line for the operator; nothing stays open then.
 */
export async function boot(options: AgentOptions, asked: Asked, log: AgentLog): Promise<Booted> {
  await checkHost();
  await makePrivateDirectory(options.stateDir);
  await makePrivateDirectory(options.runDir);
  const paths = pathsOf(options.stateDir, options.runDir);
  const lock = await StateLock.take(paths.lock);
  const deviceName = options.deviceName ?? "mesh0";
  try {
    return await bootLocked({ lock, paths, deviceName, options, log }, asked);
  } catch (error) {
    await lock.release();
    throw error;
  }
}
