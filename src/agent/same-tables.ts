// Whether tables say the same: plans keep the entries of peers that did not change as the same
// objects, so that of many thousand prefixes only those of the others are compared.
import { isDeepStrictEqual } from "node:util";
import type { TableContents } from "../datapath/index.js";

export function areSameTables(a: TableContents | null, b: TableContents | null): boolean {
  if (a === null || b === null) return a === b;
  const isSame = (one: unknown, other: unknown) => one === other || isDeepStrictEqual(one, other);
  if (!isSame(a.self, b.self) || a.peers.length !== b.peers.length) return false;
  return a.peers.every((peer, index) => isSame(peer, b.peers[index]));
}
