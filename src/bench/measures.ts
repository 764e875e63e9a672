// What is measured, and the rows that it gives.

/** In the order they are taken. */
export const MEASURES = [
  "tcp1",
  "tcp4",
  "udp1400",
  "udp1400lossless",
  "udp64",
  "udp64lossless",
  "ping",
] as const;

export type MeasureName = (typeof MEASURES)[number];

export function isMeasure(name: string): name is MeasureName {
  return (MEASURES as readonly string[]).includes(name);
}

/** A transfer over one or several connections: what the sink counted. */
export interface StreamResult {
  kind: "stream";
  streams: number;
  /** Bytes that arrived, and that were given to the sockets. Equal when all went well. */
  bytes: number;
  sentBytes: number;
  /** From the first to the last that arrived. */
  seconds: number;
  gigabitsPerSecond: number;
}

/** One flow of datagrams: what the sink counted. */
export interface FlowResult {
  kind: "flow";
  /** Bytes of UDP payload. */
  size: number;
  /** Packets per second asked for; 0 = as fast as they go. */
  rate: number;
  sent: number;
  received: number;
  bytes: number;
  /** Share of what was sent, 0 to 1. */
  loss: number;
  /** From the first to the last that arrived. */
  seconds: number;
  packetsPerSecond: number;
}

/** The highest rate at which next to nothing is lost; all 0 when there was none. */
export interface SearchResult extends Omit<FlowResult, "kind"> {
  kind: "search";
  /** The most that may be lost, 0 to 1. */
  lossMax: number;
  /** Every rate that was tried. */
  steps: Pick<FlowResult, "rate" | "sent" | "received" | "loss">[];
}

export interface PingResult {
  kind: "ping";
  sent: number;
  answered: number;
  p50_us: number;
  p90_us: number;
  p99_us: number;
  max_us: number;
}

export type MeasureResult = StreamResult | FlowResult | SearchResult | PingResult;
