// One agent of a simulation: key, join with a token, session, ledger, plan and its own record as in
// the product; no datapath and no host.
import {
  ControlError,
  createIdentity,
  type Identity,
  joinMesh,
  MemberSession,
  type Membership,
} from "../../control/index.js";
import { nodeFacts, vtepMacOf } from "../../src/agent/local.js";
import { Planner } from "../../src/agent/plan/plan.js";
import type { LocalFacts, Plan } from "../../src/agent/plan/types.js";
import type { Expected } from "./messages.js";
import { inTurn } from "./turns.js";

const PORT = 8472;

/** Unix milliseconds with fractions: the same clock in all processes. */
export const now_ms = () => performance.timeOrigin + performance.now();

export function addressOf(index: number): string {
  return `192.168.${(index >> 8) & 255}.${index & 255}`;
}

/** As an operator, or systemd, would: who got no answer tries again. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const code = error instanceof ControlError ? error.code : "";
      if (attempt === 5 || !["MESHD_NO_NATS", "MESHD_TIMEOUT"].includes(code)) throw error;
    }
  }
}

export class SimulatedAgent {
  readonly identity: Identity = createIdentity();
  plans = 0;
  planning_ms = 0;
  planning_max_ms = 0;
  made: Plan | null = null;
  session: MemberSession | null = null;
  private address: string;
  private readonly planner = new Planner();
  private timer: NodeJS.Timeout | null = null;
  private expected: { what: Expected; shown: (at: number) => void } | null = null;

  constructor(readonly index: number) {
    this.address = addressOf(index);
  }

  get nodeId(): string {
    return this.identity.nodeId;
  }

  async join(token: string): Promise<Membership> {
    const { identity, index } = this;
    const underlay = { address: this.address, port: PORT };
    const options = { identity, name: `n${index}`, underlay, timeout_ms: 60_000 };
    const membership = await patiently(() => joinMesh(token, options));
    this.session = await MemberSession.connect({
      membership,
      identity,
      status: () => ({ plans: this.plans }),
    });
    this.session.on("snapshot", () => this.wake());
    return membership;
  }

  /** Tells when this agent's plan shows it; at once when it does already. */
  expect(what: Expected): Promise<number> {
    return new Promise((shown) => {
      this.expected = { what, shown };
      this.look();
    });
  }

  async move(address: string): Promise<void> {
    this.address = address;
    this.round();
  }

  async close(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    await this.session?.close();
  }

  private wake(): void {
    this.timer ??= setTimeout(() => {
      inTurn(() => {
        this.timer = null;
        this.round();
      });
    }, 50);
  }

  local(): LocalFacts {
    const { address } = this;
    return {
      nodeId: this.nodeId,
      deviceName: "mesh0",
      vtepMac: vtepMacOf(this.nodeId),
      underlay: {
        ...{ family: 4, address, interface: "eth0", mtu: 1500 },
        interfaceAddresses: [`${address}/16`],
      },
      tunnelPort: null,
      mtu: null,
    };
  }

  private round(): void {
    const snapshot = this.session?.snapshot() ?? null;
    if (snapshot === null) return;
    const began = performance.now();
    const local = this.local();
    this.made = this.planner.plan({ snapshot, local });
    const took_ms = performance.now() - began;
    this.plans++;
    this.planning_ms += took_ms;
    this.planning_max_ms = Math.max(this.planning_max_ms, took_ms);
    this.look();
    if (this.made.tables === null) return;
    const { receives, checksums } = this.made;
    const underlay = { ...local.underlay, device: "eth0" };
    void this.session?.writeNode(
      nodeFacts(this.made, { receives, checksums }, underlay, this.nodeId, "0.1.0"),
    );
  }

  /** A node is no peer of itself. */
  private shows(made: Plan, what: Expected): boolean {
    return ("nodeId" in what && what.nodeId === this.nodeId) || peersShow(made, what);
  }

  private look(): void {
    if (
      this.expected === null ||
      this.made === null ||
      !this.shows(this.made, this.expected.what)
    ) {
      return;
    }
    this.expected.shown(now_ms());
    this.expected = null;
  }
}

function peersShow(made: Plan, what: Expected): boolean {
  switch (what.kind) {
    case "peers":
      return made.peers.length === what.count;
    case "address":
      return made.peers.some(
        ({ nodeId, address }) => nodeId === what.nodeId && address === what.address,
      );
    case "gone":
      return !made.peers.some(({ nodeId }) => nodeId === what.nodeId);
    case "mtu":
      return made.mtu === what.mtu;
  }
}
