// The side that asks for proof: CHAP of three kinds (RFC 1994, 2433, 2759) and PAP (RFC 1334). One
// try a link; a repeat of the peer's packet gets the same answer.

import { randomBytes } from "node:crypto";
import { RESTART_MS, Repeater, SENDS_MAX } from "../repeater.js";
import {
  type Checked,
  checkChapMd5,
  checkMsChapV1,
  checkMsChapV2,
  checkPap,
  userOf,
} from "./checks.js";
import { ErrorCode, errorSentence, failureText } from "./failure.js";
import * as packets from "./packets.js";
import type { AuthEvents, AuthenticatorOptions, AuthMachine, AuthMethod } from "./types.js";

type ChapMethod = Exclude<AuthMethod, "pap">;

const checks = {
  "ms-chap-v2": checkMsChapV2,
  "ms-chap-v1": checkMsChapV1,
  "chap-md5": checkChapMd5,
};
const challengeSizes: Record<ChapMethod, number> = {
  "ms-chap-v2": 16,
  "ms-chap-v1": 8,
  "chap-md5": 16,
};
/** Codes 5 to 7 change passwords (RFC 2433 section 9 and 10, RFC 2759 section 7). */
const isChange = (code: number) => code >= 5 && code <= 7;
const nobodyAnswered = "nobody answered before the time was up";

/** Either machine's word to the link, told once. */
class Verdict {
  #isSaid = false;
  constructor(
    readonly method: AuthMethod,
    readonly events: AuthEvents,
  ) {}

  get isSaid(): boolean {
    return this.#isSaid;
  }

  tell(user: string, checked: Checked): void {
    const { method, events } = this;
    this.#isSaid = true;
    if ("error" in checked) {
      const reason = errorSentence(checked.error);
      events.failed({ method, user, reason, kind: "denied" });
    } else {
      events.done({ method, user, startKeys: checked.keys });
    }
  }

  timeout(): void {
    this.#isSaid = true;
    const { method, events } = this;
    events.failed({ method, user: null, reason: nobodyAnswered, kind: "timeout" });
  }
}

class ChapAuthenticator implements AuthMachine {
  readonly #options: AuthenticatorOptions;
  readonly #method: ChapMethod;
  readonly #verdict: Verdict;
  readonly #events: AuthEvents;
  readonly #challenge: Uint8Array;
  readonly #identifier: number;
  readonly #retransmission: Repeater;
  #answer: Uint8Array | null = null;

  constructor(options: AuthenticatorOptions, method: ChapMethod, events: AuthEvents) {
    const random = options.random ?? randomBytes;
    this.#options = options;
    this.#method = method;
    this.#events = events;
    this.#verdict = new Verdict(method, events);
    this.#challenge = random(challengeSizes[method]);
    this.#identifier = random(1)[0] ?? 0;
    const name = Buffer.from(options.name);
    const data = packets.writeValued({ value: this.#challenge, name });
    const challenge = this.#packet(packets.Code.CHALLENGE, data);
    this.#retransmission = new Repeater(RESTART_MS, SENDS_MAX, () => events.send(challenge));
  }

  start(now_ms: number): void {
    this.#retransmission.start(now_ms);
  }

  receive(frame: Uint8Array): void {
    const packet = packets.readPacket(frame);
    if (packet?.protocol !== packets.CHAP || packet.identifier !== this.#identifier) return;
    if (packet.code !== packets.Code.RESPONSE && !isChange(packet.code)) return;
    if (this.#answer === null && !this.#verdict.isSaid) this.#decide(packet);
    else if (this.#answer !== null) this.#events.send(this.#answer);
  }

  tick(now_ms: number): void {
    if (this.#retransmission.tick(now_ms)) this.#verdict.timeout();
  }

  nextDeadline(): number | null {
    return this.#retransmission.nextDeadline();
  }

  #decide({ code, data }: packets.Packet): void {
    const isChanging = code !== packets.Code.RESPONSE;
    const said = isChanging ? null : packets.readValued(data);
    if (said === null && !isChanging) return;
    this.#retransmission.stop();
    const checked = said ? this.#check(said) : { error: ErrorCode.CHANGING_PASSWORD };
    this.#answer = this.#answerTo(checked);
    this.#events.send(this.#answer);
    this.#verdict.tell(said ? userOf(said.name) : "", checked);
  }

  #check(said: packets.Valued): Checked {
    const asked = { identifier: this.#identifier, challenge: this.#challenge };
    return checks[this.#method](asked, said, this.#options.verifier);
  }

  #answerTo(checked: Checked): Uint8Array {
    if (!("error" in checked)) {
      return this.#packet(packets.Code.SUCCESS, Buffer.from(checked.message));
    }
    const next = (this.#options.random ?? randomBytes)(challengeSizes[this.#method]);
    const text = failureText(this.#method, checked.error, next);
    return this.#packet(packets.Code.FAILURE, Buffer.from(text));
  }

  #packet(code: number, data: Uint8Array): Uint8Array {
    const { CHAP: protocol } = packets;
    return packets.writePacket({ protocol, code, identifier: this.#identifier, data });
  }
}

/** The peer begins, and repeats itself under other identifiers: all get the first one's answer. */
class PapAuthenticator implements AuthMachine {
  readonly #options: AuthenticatorOptions;
  readonly #verdict: Verdict;
  readonly #events: AuthEvents;
  /** Sends nothing: bounds the wait for the peer. */
  readonly #wait = new Repeater(RESTART_MS, SENDS_MAX, () => {});
  #answer: { code: number; data: Uint8Array } | null = null;

  constructor(options: AuthenticatorOptions, events: AuthEvents) {
    this.#options = options;
    this.#events = events;
    this.#verdict = new Verdict("pap", events);
  }

  start(now_ms: number): void {
    this.#wait.start(now_ms);
  }

  receive(frame: Uint8Array): void {
    const packet = packets.readPacket(frame);
    if (packet?.protocol !== packets.PAP || packet.code !== packets.PapCode.REQUEST) return;
    if (this.#answer) this.#send(packet.identifier, this.#answer);
    else if (!this.#verdict.isSaid) this.#decide(packet);
  }

  tick(now_ms: number): void {
    if (this.#wait.tick(now_ms)) this.#verdict.timeout();
  }

  nextDeadline(): number | null {
    return this.#wait.nextDeadline();
  }

  #decide({ identifier, data }: packets.Packet): void {
    const request = packets.readRequest(data);
    if (!request) return;
    this.#wait.stop();
    const checked = checkPap(request.name, request.password, this.#options.verifier);
    const isRight = !("error" in checked);
    this.#answer = {
      code: isRight ? packets.PapCode.ACK : packets.PapCode.NAK,
      data: packets.papMessage(isRight ? checked.message : "access denied"),
    };
    this.#send(identifier, this.#answer);
    this.#verdict.tell(userOf(request.name), checked);
  }

  #send(identifier: number, answer: { code: number; data: Uint8Array }): void {
    this.#events.send(packets.writePacket({ protocol: packets.PAP, identifier, ...answer }));
  }
}

/** The side that asks for proof, by one method. Insecure, whichever it is. */
export function createAuthenticator(
  options: AuthenticatorOptions,
  events: AuthEvents,
): AuthMachine {
  const { method } = options;
  if (method === "pap") return new PapAuthenticator(options, events);
  return new ChapAuthenticator(options, method, events);
}
