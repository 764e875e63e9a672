// Where raw sockets are open, the kernel's own tunnels may read the same packets: they are looked
// for with each look at the host, silenced by a table of ours, and said.
import {
  applySilence,
  findKernelTunnels,
  HostError,
  type RawTraffic,
  removeSilence,
  silenceTable,
  type Where,
} from "../host/index.js";

/** What status says of raw sockets; null while none is open. */
export interface RawStatus {
  /** 4 (IPv4 inside), 41 (IPv6 inside), 47 (GRE). */
  ipProtocols: number[];
  /** Modules and devices of the kernel that would take part. */
  kernel: string[];
  /** The nftables table that keeps them from it. */
  table: string | null;
}

export class RawGuard {
  private now: RawStatus | null = null;
  /** A process before this one may have left its table. */
  private mayStand = true;

  /** `where` and `modules` (what stands for /sys/module) are for tests. */
  constructor(
    private readonly device: string,
    private readonly where: Where = {},
    private readonly modules?: string,
  ) {}

  status(): RawStatus | null {
    return this.now;
  }

  /**
   * Silences what is found, or takes the table away. Gives the number of changes.
   * @throws HostError when something was found and cannot be silenced.
   */
  async apply(traffic: RawTraffic, prefixes: readonly string[]): Promise<number> {
    if (traffic.ipProtocols.length === 0) {
      this.now = null;
      return this.remove();
    }
    const { modules, devices } = await findKernelTunnels(traffic, this.where, this.modules);
    const ipProtocols = [...traffic.ipProtocols];
    const kernel = [...modules, ...devices];
    this.now = { ipProtocols, kernel, table: null };
    if (kernel.length === 0) return this.remove();
    this.mayStand = true;
    const wanted = { ...traffic, device: this.device, prefixes };
    const changes = Number(await applySilence(wanted, this.where));
    this.now = { ipProtocols, kernel, table: silenceTable(this.device) };
    return changes;
  }

  /** Takes the table away. Without nft there is none. */
  async remove(): Promise<number> {
    if (!this.mayStand) return 0;
    try {
      const changes = Number(await removeSilence(this.device, this.where));
      this.mayStand = false;
      return changes;
    } catch (error) {
      if (error instanceof HostError && error.code === "MESHD_HOST_TOOL_MISSING") return 0;
      throw error;
    }
  }
}
