// IPCP (RFC 1332) with name servers (RFC 1877): addresses of both ends. Header compression and the
// deprecated address pair are rejected.
import type { Answer, Layer } from "./automaton.js";
import type { Opinion } from "./judge.js";
import { judge } from "./judge.js";
import type { IpcpOptions } from "./types.js";
import type { Option, Packet } from "./wire.js";
import { addressOf, addressText, be32, bytesOf, Protocol } from "./wire.js";

const ADDRESS = 3;
const DNS = [129, 131];
const NBNS = [130, 132];
const NO_ADDRESS = "the peer gives us no address";

export interface NetworkEvents {
  up(): void;
  down(): void;
  finished(): void;
  fatal(reason: string): void;
}

export class IpcpLayer implements Layer {
  readonly protocol = Protocol.IPCP;
  #local = 0;
  #remote: number;
  #wishes = new Set<number>();
  /** Servers that the peer named, by option. */
  #servers = new Map<number, number>();
  /** What we name, by option. */
  #given = new Map<number, number>();

  /** @param remote the peer's address, null: what it says */
  constructor(
    private readonly options: IpcpOptions,
    private readonly assigned: string | null,
    private readonly events: NetworkEvents,
  ) {
    this.#remote = assigned === null ? 0 : addressOf(assigned);
    this.#give(DNS, options.dns);
    this.#give(NBNS, options.nbns);
  }

  get local(): string {
    return addressText(this.#local);
  }

  /** Null: the peer said none. */
  get remote(): string | null {
    return this.#remote === 0 ? null : addressText(this.#remote);
  }

  get dns(): string[] {
    const said = DNS.map((type) => this.#servers.get(type) ?? 0);
    return [...new Set(said)].filter((server) => server !== 0).map(addressText);
  }

  reset(): void {
    this.#local = addressOf(this.options.local);
    this.#remote = this.assigned === null ? 0 : addressOf(this.assigned);
    this.#wishes = new Set([ADDRESS, ...(this.options.askDns === true ? DNS : [])]);
    this.#servers.clear();
  }

  request(): Option[] {
    return [...this.#wishes].map((type) => {
      const value = type === ADDRESS ? this.#local : (this.#servers.get(type) ?? 0);
      return { type, value: bytesOf(value, 4) };
    });
  }

  judge(options: readonly Option[], mayNak: boolean): Answer {
    const missing =
      this.assigned === null
        ? []
        : [{ type: ADDRESS, value: bytesOf(addressOf(this.assigned), 4) }];
    return judge(options, (option) => this.#opinion(option), missing, mayNak);
  }

  acking(options: readonly Option[]): void {
    const said = options.find(({ type }) => type === ADDRESS);
    if (said !== undefined) this.#remote = be32(said.value, 0);
  }

  acked(): boolean {
    return true;
  }

  naked(options: readonly Option[]): void {
    for (const { type, value } of options) {
      if (!this.#wishes.has(type) || value.length !== 4) continue;
      if (type !== ADDRESS) this.#servers.set(type, be32(value, 0));
      // An address of our own choice is not given up: the peer takes it or the link ends.
      else if (this.options.askAddress === true) this.#local = be32(value, 0);
    }
  }

  rejected(options: readonly Option[]): void {
    for (const { type } of options) {
      this.#wishes.delete(type);
      this.#servers.delete(type);
      if (type === ADDRESS) this.#addressRefused();
    }
  }

  knows(_packet: Packet): boolean {
    return false;
  }

  extended(): void {}

  up(): void {
    if (this.#local === 0) {
      this.events.fatal(NO_ADDRESS);
      return;
    }
    this.events.up();
  }

  down(): void {
    this.events.down();
  }

  finished(): void {
    this.events.finished();
  }

  #give(types: readonly number[], servers: readonly string[]): void {
    const [first, second = first] = servers;
    if (first === undefined || second === undefined) return;
    this.#given.set(types[0] ?? 0, addressOf(first));
    this.#given.set(types[1] ?? 0, addressOf(second));
  }

  #addressRefused(): void {
    const isNone = this.#local === 0;
    this.events.fatal(isNone ? NO_ADDRESS : "the peer does not agree to our address");
  }

  #opinion({ type, value }: Option): Opinion {
    if (value.length !== 4) return "reject";
    const said = be32(value, 0);
    if (type === ADDRESS) return this.#aboutAddress(said);
    const given = this.#given.get(type);
    if (given === undefined) return "reject";
    return said === given ? "ack" : bytesOf(given, 4);
  }

  #aboutAddress(said: number): Opinion {
    if (this.assigned !== null) {
      const wanted = addressOf(this.assigned);
      return said === wanted ? "ack" : bytesOf(wanted, 4);
    }
    return said === 0 || said === this.#local ? "reject" : "ack";
  }
}
