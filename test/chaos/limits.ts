// Promises that are measured, in milliseconds.

/** All pods reach each other again within this time of the healing. */
export const RECOVERY_LIMIT_MS = 15_000;
