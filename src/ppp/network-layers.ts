// The network phase of a link: CCP first where encryption is wanted, then IPCP and IPv6CP. Knows
// which of them are open and what that means for packets.

import type { AuthSuccess } from "./auth/index.js";
import type { AutomatonOutput, Layer } from "./automaton.js";
import { Automaton } from "./automaton.js";
import { CcpLayer } from "./ccp.js";
import { IpcpLayer } from "./ipcp.js";
import { Ipv6cpLayer } from "./ipv6cp.js";
import type { MppeMode } from "./mppe-option.js";
import { Repeater } from "./repeater.js";
import { State } from "./state-table.js";
import type { CallSettings, LinkNet, LinkOptions } from "./types.js";
import { Code, Protocol } from "./wire.js";

const RESET_REPEAT_MS = 1_000;
/** Some peers send no Reset-Ack (RFC 3078 needs none): asking for ever would help nobody. */
const RESETS_MAX = 10;

export interface NetworkLayersEvents extends AutomatonOutput {
  settings(settings: Partial<CallSettings>): void;
  /** Something opened or closed: `state` says what holds now. */
  changed(reason: string): void;
  fatal(reason: string): void;
  /** The keys are used up: the link is to begin anew, with another proof. */
  stale(): void;
}

/** What the network's part of LinkNet is; null: packets may not pass. */
export type NetworkState = Pick<
  LinkNet,
  "local" | "remote" | "dns" | "mppe" | "ipv6" | "remoteInterfaceId"
>;

interface Part<L extends Layer> {
  layer: L;
  automaton: Automaton;
  /** Gave up: the peer does without it. */
  isOver: boolean;
}

export class NetworkLayers {
  #ccp: Part<CcpLayer> | null = null;
  #ipcp: Part<IpcpLayer> | null = null;
  #ipv6cp: Part<Ipv6cpLayer> | null = null;
  #mppe: MppeMode | null = null;
  #isStarted = false;
  /** The last frame for a protocol that waits for encryption: saves its peer a timeout. */
  #held = new Map<number, Uint8Array>();
  #now = 0;
  readonly #resets: Repeater;

  constructor(
    private readonly options: LinkOptions,
    private readonly remote: string | null,
    private readonly random: (count: number) => Uint8Array,
    private readonly events: NetworkLayersEvents,
  ) {
    this.#resets = new Repeater(RESET_REPEAT_MS, RESETS_MAX, () => {
      const ccp = this.#ccp?.automaton;
      ccp?.sendPacket(Code.RESET_REQUEST, ccp.nextId(), new Uint8Array(0));
    });
  }

  /** @param proof where the keys of MPPE come from; null: nobody proved anything */
  start(proof: AuthSuccess | null, now_ms: number): void {
    this.#now = now_ms;
    const mppe = this.options.mppe;
    if (mppe === null) {
      this.#startNetwork();
      return;
    }
    const ccp = this.#makeCcp(proof);
    if (ccp.layer.hasKeys) {
      this.#ccp = ccp;
      begin(ccp.automaton, now_ms);
      return;
    }
    if (!mppe.required) {
      this.#startNetwork();
      return;
    }
    this.events.fatal("encryption is required and this authentication yields no keys for it");
  }

  /** What holds now, null: packets may not pass. */
  get state(): NetworkState | null {
    const ccp = this.#ccp;
    if (!this.#isStarted || (ccp !== null && !ccp.automaton.isOpened && !ccp.isOver)) return null;
    if (this.options.mppe?.required === true && this.#mppe === null) return null;
    const ipcp = this.#ipcp?.automaton.isOpened === true ? this.#ipcp.layer : null;
    const ipv6cp = this.#ipv6cp?.automaton.isOpened === true ? this.#ipv6cp.layer : null;
    const isWaiting = ipcp === null && this.#ipcp !== null && !this.#ipcp.isOver;
    if (isWaiting || (ipcp === null && ipv6cp === null)) return null;
    return {
      local: ipcp?.local ?? null,
      remote: ipcp?.remote ?? null,
      dns: ipcp?.dns ?? [],
      mppe: this.#mppe,
      ipv6: ipv6cp !== null,
      remoteInterfaceId: ipv6cp?.remote ?? null,
    };
  }

  /** @returns whether it was taken, "unknown" for a protocol that this link does not have */
  receive(protocol: number, frame: Uint8Array, now_ms: number): boolean | "unknown" {
    this.#now = now_ms;
    const part = this.#partOf(protocol);
    if (part !== null) {
      const isTaken = part.automaton.receive(frame, now_ms);
      this.#checkEncryption();
      return isTaken;
    }
    if (!this.#isWanted(protocol)) return "unknown";
    this.#held.set(protocol, frame.slice());
    this.#ccp?.layer.wentOn();
    return true;
  }

  protocolRejected(protocol: number, now_ms: number): void {
    this.#now = now_ms;
    this.#partOf(protocol)?.automaton.protocolRejected(now_ms);
    this.#checkEncryption();
  }

  /** Stateful MPPE lost its place. */
  resetRequested(now_ms: number): void {
    if (this.#ccp?.automaton.isOpened === true) this.#resets.request(now_ms);
  }

  tick(now_ms: number): void {
    this.#now = now_ms;
    for (const part of this.#parts()) part.automaton.tick(now_ms);
    this.#resets.tick(now_ms);
  }

  deadlines(): (number | null)[] {
    const parts = this.#parts().map(({ automaton }) => automaton.nextDeadline());
    return [...parts, this.#resets.nextDeadline()];
  }

  #parts(): Part<Layer>[] {
    return [this.#ccp, this.#ipcp, this.#ipv6cp].filter((part) => part !== null);
  }

  #partOf(protocol: number): Part<Layer> | null {
    return this.#parts().find(({ layer }) => layer.protocol === protocol) ?? null;
  }

  #isWanted(protocol: number): boolean {
    if (protocol === Protocol.IPCP) return this.options.ipcp !== null;
    return protocol === Protocol.IPV6CP && this.options.ipv6cp !== null;
  }

  /** A peer that ends encryption ends the link, where it is required. */
  #checkEncryption(): void {
    if (this.#ccp?.automaton.state !== State.STOPPING || !this.options.mppe?.required) return;
    this.events.fatal("the peer ended encryption, which is required");
  }

  #makeCcp(proof: AuthSuccess | null): Part<CcpLayer> {
    const options = this.options.mppe ?? { required: false, bits: [], stateful: false };
    const layer = new CcpLayer(options, (bits) => proof?.startKeys(bits) ?? null, {
      settings: (settings) => this.events.settings(settings),
      up: (mode) => {
        this.#mppe = mode;
        this.#startNetwork();
        this.events.changed("encryption changed");
      },
      down: () => {
        this.#mppe = null;
        this.#resets.stop();
        this.events.changed("encryption is negotiated anew");
      },
      finished: () => this.#ccpOver(),
      fatal: (reason) => this.events.fatal(reason),
      stale: () => this.events.stale(),
      reset: (packet) => this.#reset(packet.code, packet.id),
    });
    return { layer, automaton: new Automaton(layer, this.events), isOver: false };
  }

  #ccpOver(): void {
    if (this.#ccp !== null) this.#ccp.isOver = true;
    if (this.options.mppe?.required === true) {
      this.events.fatal("encryption is required and was not agreed on");
      return;
    }
    this.#startNetwork();
    this.events.changed("encryption is off");
  }

  /**
   * Linux decrypts again from the Reset-Ack on, in stateless mode too, and then wants a flushed
   * packet, which RFC 3078 asks for; the acknowledgement itself is RFC 1962's.
   */
  #reset(code: number, id: number): void {
    if (code === Code.RESET_ACK) {
      this.#resets.stop();
      return;
    }
    this.#ccp?.automaton.sendPacket(Code.RESET_ACK, id, new Uint8Array(0));
    // Stateless, each packet is flushed anyway.
    if (this.#ccp?.layer.sendsStateful === true) this.events.settings({ resetSend: true });
  }

  #startNetwork(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (this.options.ipcp !== null) this.#ipcp = this.#makeIpcp(this.options.ipcp);
    if (this.options.ipv6cp !== null) {
      this.#ipv6cp = this.#makeIpv6cp(this.options.ipv6cp.interfaceId);
    }
    for (const part of [this.#ipcp, this.#ipv6cp]) {
      if (part === null) continue;
      begin(part.automaton, this.#now);
      const held = this.#held.get(part.layer.protocol);
      if (held !== undefined) part.automaton.receive(held, this.#now);
    }
    this.#held.clear();
  }

  #makeIpcp(options: NonNullable<LinkOptions["ipcp"]>): Part<IpcpLayer> {
    const events = this.#networkEvents(() => this.#ipcp);
    const layer = new IpcpLayer(options, this.remote, events);
    return { layer, automaton: new Automaton(layer, this.events), isOver: false };
  }

  #makeIpv6cp(interfaceId: bigint): Part<Ipv6cpLayer> {
    const events = this.#networkEvents(() => this.#ipv6cp);
    const layer = new Ipv6cpLayer(interfaceId, this.random, events);
    return { layer, automaton: new Automaton(layer, this.events), isOver: false };
  }

  #networkEvents(part: () => Part<Layer> | null) {
    return {
      up: () => {
        if (this.state?.mppe) this.#ccp?.layer.passes();
        this.events.changed("network");
      },
      down: () => this.events.changed("the network is negotiated anew"),
      fatal: (reason: string) => this.events.fatal(reason),
      finished: () => {
        const over = part();
        if (over !== null) over.isOver = true;
        const left = [this.#ipcp, this.#ipv6cp].filter((p) => p !== null && !p.isOver);
        if (left.length > 0) return this.events.changed("a network protocol ended");
        this.events.fatal("no network protocol is left");
      },
    };
  }
}

function begin(automaton: Automaton, now_ms: number): void {
  automaton.open(now_ms);
  automaton.lowerUp(now_ms);
}
