// Times as operators write them: "15m", "7d", "2027-01-31", "never".
import { type kinds, limits } from "../config/index.js";

const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** "90s", "15m", "24h", "7d" in seconds; "never" is null. */
export const duration: kinds.Kind<number | null> = {
  allowed: "a number with s, m, h or d such as 24h, up to 365d, or never",
  parse(given) {
    if (given === "never") return null;
    const found = typeof given === "string" ? /^(\d{1,8})([smhd])$/.exec(given) : null;
    const seconds = Number(found?.[1]) * (UNIT_S[found?.[2] ?? ""] ?? Number.NaN);
    return seconds > 0 && seconds * 1000 <= limits.TOKEN_TTL_MAX_MS ? seconds : undefined;
  },
};

/** A moment in UTC (RFC 3339): a date, such text, or a duration from now; "never" is null. */
export const moment: kinds.Kind<string | null> = {
  allowed:
    "a date such as 2027-01-31 (its first moment in UTC), a UTC time, 30d from now, or never",
  parse(given) {
    const lasts_s = duration.parse(given);
    if (lasts_s === null) return null;
    if (lasts_s !== undefined) return new Date(Date.now() + lasts_s * 1000).toISOString();
    const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,3})?Z)?$/;
    if (typeof given !== "string" || !form.test(given)) return undefined;
    const at = new Date(given);
    // 2027-02-31 would be read as a day of March.
    const isReal = !Number.isNaN(at.getTime()) && at.toISOString().startsWith(given.slice(0, 10));
    return isReal ? at.toISOString() : undefined;
  },
};
