// Names and labels of pods, and the device names made from them.
import { createHash } from "node:crypto";
import { PodError } from "./errors.js";

const LABELS_MAX = 64;

/** Throws MESHD_POD_BAD_NAME unless it is one DNS label (RFC 1123 section 2.1), lower case. */
export function checkPodName(name: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return name;
  const shown = JSON.stringify(name.slice(0, 80));
  const rule = "1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'";
  throw new PodError("MESHD_POD_BAD_NAME", `pod name ${shown} refused: allowed are ${rule}`);
}

/** Throws MESHD_POD_BAD_LABEL. Keys may hold a prefix ("team.example/app"); values may be empty. */
export function checkLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels);
  if (entries.length > LABELS_MAX) {
    throw new PodError("MESHD_POD_BAD_LABEL", `${entries.length} labels; at most ${LABELS_MAX}`);
  }
  for (const [key, value] of entries) {
    const fineKey = /^[A-Za-z0-9]([A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?$/.test(key);
    if (!fineKey || !/^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/.test(value)) {
      const shown = JSON.stringify(`${key}=${value}`.slice(0, 120));
      const rule = "key and value have letters, digits, '_', '.' and '-' (a key also '/')";
      throw new PodError("MESHD_POD_BAD_LABEL", `label ${shown} refused: ${rule}`);
    }
  }
  return Object.fromEntries(entries);
}

/**
 * The host's end of a pod's veth pair: "mp" and ten hex digits, the same for the same pod as long
 * as no device in `taken` has that name.
 */
export function hostDeviceName(
  overlayDevice: string,
  pod: string,
  taken: ReadonlySet<string>,
): string {
  for (let salt = 0; ; salt++) {
    const seed = `${overlayDevice}\0${pod}\0${salt}`;
    const name = `mp${createHash("sha256").update(seed).digest("hex").slice(0, 10)}`;
    if (!taken.has(name)) return name;
  }
}
