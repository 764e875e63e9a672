// Where a mesh is: its folder as a controller's host knows it, and what an administrator's file
// says of it.
import type { MeshConfig } from "../settings.js";

/**
 * Keys and credentials of a mesh as kept in a directory (files 0600). For the host of a controller.
 */
export interface Mesh {
  dir: string;
  /** UUID. */
  meshId: string;
  /** Mesh name: DNS label, subject prefix and bucket name. */
  name: string;
  servers: string[];
  accountKey: string;
  grantKey: string;
  /** Paths of credentials files. */
  adminCredentials: string;
  controllerCredentials: string;
  /** PEM of the CAs whose servers are the mesh's, the one that signs first; null: it has none. */
  ca: string | null;
  /** Settings the mesh begins with; from then on the `config` record counts. */
  config: MeshConfig;
}

/** Where a mesh is and what is trusted there: no secret. */
export interface MeshPlace {
  meshId: string;
  mesh: string;
  servers: string[];
  grantKey: string;
  /** PEM of the CAs of its servers; absent: it has none. */
  ca?: string;
}

const placeHead = "-----BEGIN MESHD MESH-----";
const placeEnd = "------END MESHD MESH------";

/** A block that the stock tools pass over, after the two that they read. */
export function placeBlock(place: MeshPlace): string {
  const text = Buffer.from(JSON.stringify(place)).toString("base64url");
  return `\n${placeHead}\n${text}\n${placeEnd}\n`;
}

/** What a credentials file says of its mesh; null when it says nothing, or damaged. */
export function readPlace(text: string): MeshPlace | null {
  const found = /-----BEGIN MESHD MESH-----\s*(\S+)\s*-+END/.exec(text)?.[1];
  if (found === undefined) return null;
  try {
    const place = JSON.parse(Buffer.from(found, "base64url").toString("utf8")) as MeshPlace;
    const texts = [place.meshId, place.mesh, place.grantKey, place.ca ?? ""];
    const isWhole = texts.every((one) => typeof one === "string") && Array.isArray(place.servers);
    return isWhole ? place : null;
  } catch {
    return null;
  }
}

export function placeOf({ meshId, name, servers, grantKey, ca }: Mesh): MeshPlace {
  return { meshId, mesh: name, servers, grantKey, ...(ca === null ? {} : { ca }) };
}
