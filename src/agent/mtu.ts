// The tunnel MTU: bytes of an inner IP packet that still fit the underlay after encapsulation.
import type { GreOptions } from "../datapath/index.js";
import { overheadOf, type TunnelProtocol } from "./protocols.js";

/** Smallest MTU on which IPv6 works (RFC 8200 section 5); below it Linux drops IPv6 addresses. */
export const MTU_MIN_IPV6 = 1280;
/** Smallest MTU of an IPv4 link (RFC 791 section 3.2). */
export const MTU_MIN_IPV4 = 68;
/** Largest inner packet the hot path's slots hold. */
export const MTU_MAX = 65535;

export interface MtuInput {
  /** The mesh's or the node's setting. */
  setting: "auto" | number;
  /** null: packets go without an outer header. */
  protocol: TunnelProtocol | null;
  /** Optional words of GRE headers; none when left out. */
  gre?: GreOptions;
  underlayFamily: 4 | 6;
  /** MTU in bytes of the interface that holds the underlay address. */
  underlayMtu: number;
  /** Pods of this mesh have IPv6 addresses. */
  overlayIPv6: boolean;
}

export interface MtuResult {
  mtu: number;
  /** What a path as wide as the interface carries; less than `mtu` where IPv6 needs more. */
  path: number;
  /** One line for status when the value is not what an operator would expect; else null. */
  warning: string | null;
}

/** Bytes of an inner IP packet that the underlay's interface carries. */
export function fittingMtu(
  input: Pick<MtuInput, "protocol" | "gre" | "underlayFamily" | "underlayMtu">,
): number {
  const { protocol, underlayFamily, underlayMtu, gre } = input;
  return underlayMtu - (protocol === null ? 0 : overheadOf(protocol, underlayFamily, gre));
}

/**
 * Tunnel MTU in bytes = underlay MTU - overhead, or the setting. A setting too large for the
 * underlay is obeyed (the path may be wider than the interface says) but said; one that cannot
 * carry IPv6 at all is raised to 1280 while the mesh has an IPv6 pool.
 */
export function tunnelMtu(input: MtuInput): MtuResult {
  const fitting = fittingMtu(input);
  const wanted = input.setting === "auto" ? fitting : input.setting;
  const least = input.overlayIPv6 ? MTU_MIN_IPV6 : MTU_MIN_IPV4;
  if (wanted < least) {
    return {
      mtu: least,
      path: Math.max(wanted, MTU_MIN_IPV4),
      warning: `tunnel MTU ${wanted} is below ${least}: using ${least}`,
    };
  }
  if (wanted > fitting) {
    return {
      mtu: Math.min(wanted, MTU_MAX),
      path: Math.min(wanted, MTU_MAX),
      warning:
        `mtu ${wanted} is larger than the underlay carries (${input.underlayMtu} - ` +
        `${input.underlayMtu - fitting} = ${fitting}): full packets get lost; set mtu: auto`,
    };
  }
  const mtu = Math.min(wanted, MTU_MAX);
  return { mtu, path: mtu, warning: null };
}
