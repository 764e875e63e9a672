// What a parser says of bytes: refused, and why, or taken.
import { Refused } from "../../control/check.js";

/** The reason of a Refused, "taken" without one; other errors are thrown on. */
export function refusalOf(parse: () => unknown): string {
  try {
    parse();
    return "taken";
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
}
