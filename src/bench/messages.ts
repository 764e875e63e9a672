// What is said: between asker and agent (over NATS), agent and child, and both children.
import { isIP } from "node:net";
import { BenchError, type ErrorBody } from "./errors.js";
import { SECONDS_MAX, SECRET_BYTES } from "./limits.js";
import { isMeasure, type MeasureName, type MeasureResult } from "./measures.js";

/** What is measured: the mesh's own addresses, or those below it. */
export const NETWORKS = ["overlay", "underlay"] as const;
export type Network = (typeof NETWORKS)[number];

/** What an operator allows on a node: nothing, traffic through the tunnel, the underlay too. */
export type BenchRule = "off" | "overlay" | "all";

/** One of the two hosts listens, the other sends. */
export type Role = "serve" | "drive";

/** Addresses of one family on one network. */
export interface Way {
  network: Network;
  family: 4 | 6;
  own: string;
  peer: string;
}

/** What the agent's process used so far. */
export interface Usage {
  cpu_s: number;
  resident_bytes: number;
}

export interface HostFacts {
  node: string;
  nodeId: string;
  version: string;
  cpus: number;
  kernel: string;
  congestionControl: string;
  tunnelProtocol: string;
  mtu: number;
}

export type BenchRequest =
  | { do: "open"; session: string; role: Role; peer: string }
  | ({ do: "run"; session: string } & Task)
  | { do: "look"; session: string }
  | { do: "close"; session: string };

/** What a driving child measures. */
export interface Task {
  network: Network;
  measure: MeasureName;
  /** Of one transfer. */
  seconds: number;
  /** TCP's congestion control; "" = the host's. */
  congestion: string;
  /** Where the other child listens, and what opens it. */
  port: number;
  secret: string;
}

export type WayAnswer = { address: string; port: number } | { refused: string };

/** Answer to "open". Ports and secret are 0 and "" where nothing listens (role drive). */
export interface OpenAnswer {
  host: HostFacts;
  networks: Record<Network, WayAnswer>;
  secret: string;
}

/** Answer to "look". */
export interface LookAnswer {
  state: "idle" | "running" | "done";
  result?: MeasureResult;
  error?: ErrorBody;
  usage: Usage;
  /** Until the session ends at the latest. */
  left_ms: number;
}

/** Agent to child. */
export type ToChild = { start: { role: Role; secret: string; ways: Way[] } } | { run: Task };

/** Child to agent. */
export type FromChild =
  | { ready: Partial<Record<Network, number>> }
  | { result: MeasureResult }
  | { error: ErrorBody };

function bad(what: string): BenchError {
  return new BenchError("MESHD_BAD_REQUEST", what);
}

/** A JSON object, else MESHD_BAD_REQUEST. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw bad("a bench request must be a JSON object");
}

function sessionOf(fields: Record<string, unknown>): string {
  const { session } = fields;
  if (typeof session === "string" && /^[0-9a-f]{16,64}$/.test(session)) return session;
  throw bad("session must be 16 to 64 hexadecimal digits");
}

function integer(fields: Record<string, unknown>, key: string, min: number, max: number): number {
  const value = fields[key];
  const fits = typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;
  if (fits) return value;
  throw bad(`${key} must be a whole number from ${min} to ${max}`);
}

function openOf(fields: Record<string, unknown>): BenchRequest {
  const { role, peer } = fields;
  if (role !== "serve" && role !== "drive") throw bad('role must be "serve" or "drive"');
  if (typeof peer !== "string" || peer === "" || peer.length > 100)
    throw bad("peer must be a node id");
  return { do: "open", session: sessionOf(fields), role, peer };
}

function runOf(fields: Record<string, unknown>): BenchRequest {
  const { network, measure, secret } = fields;
  if (network !== "overlay" && network !== "underlay") {
    throw bad('network must be "overlay" or "underlay"');
  }
  if (typeof measure !== "string" || !isMeasure(measure)) throw bad("there is no such measure");
  if (typeof secret !== "string" || !isSecret(secret)) throw bad("secret is none");
  const { congestion = "" } = fields;
  if (typeof congestion !== "string" || !isCongestion(congestion)) throw bad("congestion is none");
  const seconds = integer(fields, "seconds", 1, SECONDS_MAX);
  const port = integer(fields, "port", 1, 65_535);
  const task: Task = { network, measure, seconds, congestion, port, secret };
  return { do: "run", session: sessionOf(fields), ...task };
}

/** Whether a text may be a session's secret: hexadecimal digits, of the right length. */
export function isSecret(text: string): boolean {
  return text.length === SECRET_BYTES * 2 && /^[0-9a-f]+$/.test(text);
}

/** The name of a congestion control, or "". TCP_CA_NAME_MAX is 16 with the closing zero byte. */
export function isCongestion(text: string): boolean {
  return /^[a-z0-9_-]{0,15}$/.test(text);
}

/** A request that came over NATS, checked field by field. @throws BenchError MESHD_BAD_REQUEST */
export function parseRequest(value: unknown): BenchRequest {
  const fields = fieldsOf(value);
  switch (fields.do) {
    case "open":
      return openOf(fields);
    case "run":
      return runOf(fields);
    case "look":
      return { do: "look", session: sessionOf(fields) };
    case "close":
      return { do: "close", session: sessionOf(fields) };
    default:
      throw bad('"do" must be open, run, look or close');
  }
}

/**
 * The addresses that two hosts reach each other by: per network, in the first family that both
 * have, IPv4 before IPv6.
 */
export function wayBetween(
  network: Network,
  own: readonly string[],
  peer: readonly string[],
): Way | undefined {
  for (const family of [4, 6] as const) {
    const mine = own.find((address) => isIP(address) === family);
    const theirs = peer.find((address) => isIP(address) === family);
    if (mine !== undefined && theirs !== undefined) {
      return { network, family, own: mine, peer: theirs };
    }
  }
  return undefined;
}
