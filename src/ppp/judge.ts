// How a Configure-Request is answered, the same for every protocol: reject what is not known, else
// nak what does not fit, else ack (RFC 1661 sections 5.2 to 5.4).
import type { Answer } from "./automaton.js";
import type { Option } from "./wire.js";
import { Code } from "./wire.js";

/** One option: fine, not known (or not wanted at all), or the value that we would take. */
export type Opinion = "ack" | "reject" | Uint8Array;

/**
 * @param opinion asked for each option once; a second of the same type is rejected unasked
 * @param missing options that we ask a peer for which left them out
 * @param mayNak false: options are rejected instead (Max-Failure), and nothing is asked for
 */
export function judge(
  options: readonly Option[],
  opinion: (option: Option) => Opinion,
  missing: readonly Option[],
  mayNak: boolean,
): Answer {
  const seen = new Set<number>();
  const rejected: Option[] = [];
  const naked: Option[] = [];
  for (const option of options) {
    const said = seen.has(option.type) ? "reject" : opinion(option);
    seen.add(option.type);
    if (said === "reject" || (said !== "ack" && !mayNak)) rejected.push(option);
    else if (said !== "ack") naked.push({ type: option.type, value: said });
  }
  if (rejected.length > 0) return { code: Code.CONFIGURE_REJECT, options: rejected };
  const wanted = mayNak ? missing.filter(({ type }) => !seen.has(type)) : [];
  if (naked.length + wanted.length === 0) return { code: Code.CONFIGURE_ACK, options };
  return { code: Code.CONFIGURE_NAK, options: [...naked, ...wanted] };
}
