// IPv6CP (RFC 5072): the two interface identifiers must differ and not be zero.
import type { Answer, Layer } from "./automaton.js";
import type { NetworkEvents } from "./ipcp.js";
import type { Opinion } from "./judge.js";
import { judge } from "./judge.js";
import type { Option, Packet } from "./wire.js";
import { be32, bytesOf, Protocol } from "./wire.js";

const INTERFACE_ID = 1;
const HALF = 32n;

const read = (value: Uint8Array) => (BigInt(be32(value, 0)) << HALF) | BigInt(be32(value, 4));
const write = (id: bigint) =>
  Uint8Array.of(...bytesOf(Number(id >> HALF), 4), ...bytesOf(Number(id & 0xffffffffn), 4));

export class Ipv6cpLayer implements Layer {
  readonly protocol = Protocol.IPV6CP;
  #local: bigint;
  #isWished = true;
  #remote: bigint | null = null;

  constructor(
    private readonly interfaceId: bigint,
    private readonly random: (count: number) => Uint8Array,
    private readonly events: NetworkEvents,
  ) {
    this.#local = BigInt.asUintN(64, interfaceId);
  }

  get remote(): bigint | null {
    return this.#remote;
  }

  reset(): void {
    this.#local = BigInt.asUintN(64, this.interfaceId);
    this.#isWished = true;
    this.#remote = null;
  }

  request(): Option[] {
    return this.#isWished ? [{ type: INTERFACE_ID, value: write(this.#local) }] : [];
  }

  judge(options: readonly Option[], mayNak: boolean): Answer {
    return judge(options, (option) => this.#opinion(option), [], mayNak);
  }

  acking(options: readonly Option[]): void {
    const said = options.find(({ type }) => type === INTERFACE_ID);
    this.#remote = said === undefined ? null : read(said.value);
  }

  acked(): boolean {
    return true;
  }

  naked(options: readonly Option[]): void {
    const said = options.find(({ type, value }) => type === INTERFACE_ID && value.length === 8);
    if (said !== undefined && read(said.value) !== 0n) this.#local = read(said.value);
  }

  rejected(): void {
    this.#isWished = false;
  }

  knows(_packet: Packet): boolean {
    return false;
  }

  extended(): void {}

  up(): void {
    this.events.up();
  }

  down(): void {
    this.events.down();
  }

  finished(): void {
    this.events.finished();
  }

  #opinion({ type, value }: Option): Opinion {
    if (type !== INTERFACE_ID || value.length !== 8) return "reject";
    const said = read(value);
    if (said !== 0n && said !== this.#local) return "ack";
    return this.random(8);
  }
}
