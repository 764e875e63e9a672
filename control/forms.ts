// Forms of tunnel packets: an encapsulation, the port that it goes to, and the settings that are
// words of its headers, on which both ends must agree.
import { hasPort } from "./built.js";
import * as check from "./check.js";
import type { TunnelForm, TunnelWords } from "./records.js";
import type { MeshConfig } from "./settings.js";

/** Names of the settings that are such words. */
export const WORDS: readonly (keyof TunnelWords)[] = [
  "vni",
  "greKey",
  "greChecksum",
  "greSequence",
];

/** The words that an encapsulation has, as the mesh's settings have them. */
export function wordsOf(config: MeshConfig, protocol: string): TunnelWords {
  const { vni, greKey, greChecksum, greSequence } = config;
  if (protocol === "gre") return { greKey, greChecksum, greSequence };
  return protocol === "vxlan" || protocol === "geneve" ? { vni } : {};
}

/** "vxlan on port 8472 (vni 5)", "gre (key 7, checksum)", "ipip". */
export function formText(form: TunnelForm): string {
  const { protocol, port, vni, greKey, greChecksum, greSequence } = form;
  const words = [
    ...(vni === undefined ? [] : [`vni ${vni}`]),
    ...(greKey === undefined || greKey === null ? [] : [`key ${greKey}`]),
    ...(greChecksum === true ? ["checksum"] : []),
    ...(greSequence === true ? ["numbered"] : []),
  ];
  const place = hasPort(protocol) && port !== 0 ? `${protocol} on port ${port}` : protocol;
  return words.length === 0 ? place : `${place} (${words.join(", ")})`;
}

/** The form in a record's field; Refused where it is none. */
export function form(fields: check.Fields, name: string): TunnelForm {
  const one = check.fieldsOf(fields[name], name);
  const isSaid = (word: keyof TunnelWords) => one[word] !== undefined;
  return {
    protocol: check.text(one, "protocol", 32),
    port: check.whole(one, "port", 0, 65_535),
    ...(isSaid("vni") ? { vni: vniOf(one) } : {}),
    ...(isSaid("greKey") ? { greKey: greKeyOf(one) } : {}),
    ...(isSaid("greChecksum") ? { greChecksum: check.flag(one, "greChecksum") } : {}),
    ...(isSaid("greSequence") ? { greSequence: check.flag(one, "greSequence") } : {}),
  };
}

/** As `form`, of any value; null where it is none. */
export function parseForm(given: unknown): TunnelForm | null {
  try {
    return form({ form: given }, "form");
  } catch (error) {
    if (error instanceof check.Refused) return null;
    throw error;
  }
}

function vniOf(fields: check.Fields): number | "identity" {
  return fields.vni === "identity" ? "identity" : check.whole(fields, "vni", 1, 0xff_ffff);
}

function greKeyOf(fields: check.Fields): number | null {
  return fields.greKey === null ? null : check.whole(fields, "greKey", 0, 0xffff_ffff);
}
