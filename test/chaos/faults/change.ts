// Changes that an administrator makes while everything runs, and hosts that move.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../../support/random.js";
import { type Fault, holdFor, type Injury, must, pickNode, type World } from "../fault.js";
import { untilRight } from "../invariants.js";
import { RECOVERY_LIMIT_MS } from "../limits.js";

const CHANGE_LIMIT_MS = 60_000;
/** Members that were removed carry nothing on any node after this time. */
const REMOVAL_LIMIT_MS = 5000;
/** Host numbers that no lab gives to its nodes. */
const MOVED_HOST = 150;
const ROUTER_HOST = 254;

const rename: Fault = {
  name: "node-rename",
  about: "a node gets another name, and its own again",
  ...{ hurts: "control", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const other = `x${dice.between(0, 999_999)}`;
    await lab.meshd(lab.control, ["node", "rename", node, other]);
    const named = (name: string) =>
      untilRight(CHANGE_LIMIT_MS, async () => {
        const { node: self } = await lab.status(node);
        return self.name === name ? [] : [`${node} calls itself ${self.name}, not ${name}`];
      });
    return {
      target: `${node} -> ${other}`,
      hold_ms: holdFor(dice, 1, 3),
      proof: async () => must((await named(other)).length === 0, `${node} kept its name`),
      heal: async () => {
        await lab.meshd(lab.control, ["node", "rename", other, node]);
        const wrong = await named(node);
        if (wrong.length > 0) throw new Error(wrong.join("; "));
      },
    };
  },
};

/** All members send in this form, and nobody has another one open. */
function changed({ lab }: World, protocol: string): Promise<string[]> {
  return untilRight(CHANGE_LIMIT_MS, async () => {
    const states = await Promise.all(lab.nodeNames.map((name) => lab.status(name)));
    return states
      .filter(({ tunnelProtocol, change }) => tunnelProtocol !== protocol || change !== null)
      .map(({ node, tunnelProtocol, change }) => {
        return `${node.name} is at ${tunnelProtocol}: ${JSON.stringify(change)}`;
      });
  });
}

const protocolChange: Fault = {
  name: "protocol-change",
  about: "the encapsulation of the whole mesh changes under traffic",
  ...{ hurts: "change", isSafe: true },
  async strike(world, dice) {
    const { lab } = world;
    const [first = ""] = lab.nodeNames;
    const { tunnelProtocol: before } = await lab.status(first);
    const protocol = dice.pick(world.protocols.filter((one) => one !== before));
    const set = (wanted: string) =>
      lab.meshd(lab.control, ["config", "set", "tunnelProtocol", wanted]);
    await set(protocol);
    return {
      target: `${before} -> ${protocol}`,
      hold_ms: 0,
      heal: async () => {
        const wrong = await changed(world, protocol);
        // An operator gets his lab back as it was; ours goes on with what it has now.
        if (!lab.isOwn) await set(before);
        wrong.push(...(await changed(world, lab.isOwn ? protocol : before)));
        if (wrong.length > 0) throw new Error(wrong.join("; "));
      },
    };
  },
};

const removal: Fault = {
  name: "remove-rejoin",
  about: "a node is removed from the mesh, cleans up, and joins again with a new token",
  ...{ hurts: "data", isSafe: false },
  async strike(world, dice) {
    const { lab, traffic } = world;
    const node = pickNode(world, dice);
    const { lease } = await lab.status(node);
    await lab.meshd(lab.control, ["node", "remove", node]);
    const others = lab.nodeNames.filter((name) => name !== node);
    const gone = async () => {
      const tables = await Promise.all(
        others.map((name) => lab.socket<{ prefix: string }[]>(name, "/fib")),
      );
      const left = tables.flat().filter(({ prefix }) => lease.podCIDRs.includes(prefix));
      return left.map(({ prefix }) => `${prefix} is still routed`);
    };
    const wrong = await untilRight(REMOVAL_LIMIT_MS, gone);
    if (wrong.length > 0) throw new Error(`${node} was removed: ${wrong.join("; ")}`);
    const pods = lab.nodes.find(({ namespace }) => namespace.endsWith(`-${node}`))?.pods ?? [];
    return {
      target: node,
      hold_ms: holdFor(dice, 1, 3),
      proof: async () => {
        must(traffic.counts().lost.length > 0, "no packet was lost");
        await traffic.silence(pods.map(({ namespace }) => namespace));
        await lab.meshd(lab.node(node), ["leave", "--force"]);
      },
      heal: async () => {
        await lab.lab("up");
        await lab.refresh();
        traffic.retarget();
      },
    };
  },
};

/** `lab up` gives its hosts a fixed address; one that may move finds its own. */
async function unpin({ lab, traffic }: World, node: string): Promise<void> {
  const place = lab.node(node);
  const path = join(place.stateDir, "settings.json");
  if (!existsSync(path)) return;
  const file = JSON.parse(readFileSync(path, "utf8")) as { settings: Record<string, unknown> };
  if (file.settings.underlayAddress === undefined) return;
  await lab.meshd(place, ["down", "--agent"]);
  delete file.settings.underlayAddress;
  writeFileSync(path, JSON.stringify(file));
  await lab.meshd(place, ["join"]);
  const { isWell } = await traffic.recovered(Date.now(), RECOVERY_LIMIT_MS);
  if (!isWell) throw new Error(`${node} did not come back without a fixed address`);
  traffic.mark();
}

interface Spot {
  address: string;
  bridge: string;
}

async function moveTo({ lab }: World, node: string, from: Spot, to: Spot): Promise<void> {
  const { namespace } = lab.node(node);
  const router = `${to.address.split(".").slice(0, 3).join(".")}.${ROUTER_HOST}`;
  await lab.must(lab.networkSpace, ["ip", "link", "set", "dev", node, "master", to.bridge]);
  await lab.must(namespace, ["ip", "address", "del", `${from.address}/24`, "dev", "eth0"]);
  await lab.must(namespace, ["ip", "address", "add", `${to.address}/24`, "dev", "eth0"]);
  await lab.must(namespace, ["ip", "route", "replace", "default", "via", router]);
}

async function move(world: World, dice: Random, spotOf: (home: Spot) => Spot): Promise<Injury> {
  const { lab, traffic } = world;
  const node = pickNode(world, dice);
  await unpin(world, node);
  const { underlay, lease } = await lab.status(node);
  const [, , third] = underlay.address.split(".").map(Number);
  const home = { address: underlay.address, bridge: `br${(third ?? 77) - 77}` };
  const away = spotOf(home);
  const moved = Date.now();
  await moveTo(world, node, home, away);
  return {
    target: `${node}: ${home.address} -> ${away.address} and back`,
    hold_ms: 0,
    proof: async () => {
      const { isWell, probes_ms } = await traffic.recovered(moved, RECOVERY_LIMIT_MS);
      if (!isWell) throw new Error(`not back at ${away.address}: ${traffic.lossText()}`);
      must(traffic.counts().lost.length > 0 || probes_ms === 0, "no packet was lost");
      const now = await lab.status(node);
      must(now.underlay.address === away.address, `${node} is at ${now.underlay.address}`);
      const [was, is] = [lease, now.lease].map((one) => JSON.stringify(one));
      if (was !== is) throw new Error(`${node} had lease ${was}, has ${is}`);
    },
    heal: () => moveTo(world, node, away, home),
  };
}

const addressMove: Fault = {
  name: "address-move",
  about: "a node's underlay address changes in its subnet, and changes back",
  ...{ hurts: "data", isSafe: false },
  strike: (world, dice) =>
    move(world, dice, ({ address, bridge }) => {
      const [a, b, c, host] = address.split(".");
      return { address: `${a}.${b}.${c}.${MOVED_HOST + Number(host)}`, bridge };
    }),
};

const subnetMove: Fault = {
  name: "subnet-move",
  about: "a node moves to another routed subnet, and back",
  ...{ hurts: "data", isSafe: false },
  strike: (world, dice) =>
    move(world, dice, ({ address, bridge }) => {
      const [a, b, third, host] = address.split(".");
      const other = bridge === "br0" ? 1 : 0;
      const subnet = Number(third) + (other === 1 ? 1 : -1);
      return {
        address: `${a}.${b}.${subnet}.${MOVED_HOST + Number(host)}`,
        bridge: `br${other}`,
      };
    }),
};

export const changeFaults: readonly Fault[] = [
  rename,
  protocolChange,
  removal,
  addressMove,
  subnetMove,
];
