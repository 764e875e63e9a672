// What a link goes by before anything is negotiated.
import type { CallSettings, LinkOptions } from "./types.js";

export const NO_METHOD = "none of the allowed authentication methods yields keys for encryption";

/** Nothing but LCP and authentication passes, and nothing is encrypted. */
export const AT_REST: Partial<CallSettings> = {
  ...{ phase: "link", acfc: false, pfc: false, receive: null, send: null },
};

/** Without keys there is no encryption: where it is required, a password is not even sent. */
export function withKeyedMethods(options: LinkOptions): LinkOptions {
  if (options.mppe?.required !== true) return options;
  const methods = options.auth.methods.filter((method) => method.startsWith("ms-chap-"));
  return { ...options, auth: { ...options.auth, methods } };
}

/** IP, and what MPPE made of it: the hot path's. */
export function isData(protocol: number): boolean {
  return protocol < 0x4000;
}
