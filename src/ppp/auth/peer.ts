// The side that proves itself: answers Challenges of CHAP (RFC 1994, 2433, 2759) or sends PAP's
// request (RFC 1334). It answers later Challenges, too, as an authenticator may send at any time.

import { randomBytes } from "node:crypto";
import { RESTART_MS, Repeater, SENDS_MAX } from "../repeater.js";
import { isEqual, userOf } from "./checks.js";
import { ErrorCode, errorSentence, readErrorCode } from "./failure.js";
import {
  authenticatorResponse,
  challengeResponse,
  chapMd5,
  type Exchange,
  ntHash,
  ntResponseV2,
} from "./ms-chap.js";
import * as packets from "./packets.js";
import { startKeysV1, startKeysV2 } from "./start-keys.js";
import type {
  AuthEvents,
  AuthFailure,
  AuthMachine,
  AuthMethod,
  AuthPeerOptions,
  AuthSuccess,
} from "./types.js";

/** What was answered to a Challenge, and what a Success to it gives. */
interface Answered {
  identifier: number;
  challenge: Uint8Array;
  frame: Uint8Array;
  /** What a Success must begin with; null where it proves nothing. */
  proof: string | null;
  keys: AuthSuccess["startKeys"];
}

type Answer = Pick<Answered, "proof" | "keys"> & { value: Uint8Array };

abstract class Peer implements AuthMachine {
  #isDone = false;
  #isFailed = false;
  readonly name: Uint8Array;
  readonly user: string;
  protected abstract readonly timer: Repeater;

  constructor(
    readonly options: AuthPeerOptions,
    readonly events: AuthEvents,
  ) {
    this.name = Buffer.from(options.user);
    this.user = userOf(this.name);
  }

  abstract receive(frame: Uint8Array): void;

  start(now_ms: number): void {
    this.timer.start(now_ms);
  }

  tick(now_ms: number): void {
    if (!this.timer.tick(now_ms)) return;
    this.fail("timeout", "the other side neither took nor refused us in time");
  }

  nextDeadline(): number | null {
    return this.timer.nextDeadline();
  }

  get isFailed(): boolean {
    return this.#isFailed;
  }

  protected succeed(startKeys: AuthSuccess["startKeys"]): void {
    this.timer.stop();
    if (this.#isDone) return;
    this.#isDone = true;
    this.events.done({ method: this.options.method, user: this.user, startKeys });
  }

  protected fail(kind: AuthFailure["kind"], reason: string): void {
    if (this.#isFailed) return;
    this.timer.stop();
    this.#isFailed = true;
    this.events.failed({ method: this.options.method, user: this.user, reason, kind });
  }
}

class ChapPeer extends Peer {
  /**
   * The authenticator repeats its Challenge until it has our Response, but not the Success: if that
   * one was lost, only a repeated Response brings it (RFC 1994 section 4.2).
   */
  protected readonly timer = new Repeater(RESTART_MS, SENDS_MAX, () => {
    if (this.#answered) this.events.send(this.#answered.frame);
  });
  readonly #method: Exclude<AuthMethod, "pap">;
  #answered: Answered | null = null;

  constructor(options: AuthPeerOptions, method: Exclude<AuthMethod, "pap">, events: AuthEvents) {
    super(options, events);
    this.#method = method;
  }

  receive(frame: Uint8Array): void {
    const packet = packets.readPacket(frame);
    if (packet?.protocol !== packets.CHAP || this.isFailed) return;
    if (packet.code === packets.Code.CHALLENGE) this.#challenged(packet);
    else if (packet.identifier !== this.#answered?.identifier) return;
    else if (packet.code === packets.Code.SUCCESS) this.#taken(this.#answered, packet.data);
    else if (packet.code === packets.Code.FAILURE) this.#refused(packet.data);
  }

  #challenged({ identifier, data }: packets.Packet): void {
    const challenge = packets.readValued(data)?.value;
    if (!challenge) return;
    const before = this.#answered;
    const isRepeat = before?.identifier === identifier && isEqual(before.challenge, challenge);
    if (!isRepeat && !this.#answer(identifier, challenge.slice())) return;
    if (this.#answered) this.events.send(this.#answered.frame);
  }

  /** False for a challenge that this method cannot have. */
  #answer(identifier: number, challenge: Uint8Array): boolean {
    const answer = this.#answerTo(identifier, challenge);
    if (!answer) return false;
    const data = packets.writeValued({ value: answer.value, name: this.name });
    const frame = packets.writePacket({
      protocol: packets.CHAP,
      code: packets.Code.RESPONSE,
      identifier,
      data,
    });
    this.#answered = { identifier, challenge, frame, proof: answer.proof, keys: answer.keys };
    return true;
  }

  #answerTo(identifier: number, challenge: Uint8Array): Answer | null {
    if (this.#method === "chap-md5") return this.#md5(identifier, challenge);
    const { secret } = this.options;
    const account =
      "clear" in secret ? { ntHash: ntHash(secret.clear), clear: secret.clear } : secret;
    if (this.#method === "ms-chap-v2") return this.#v2(challenge, account.ntHash);
    if (challenge.length !== 8) return null;
    const response = challengeResponse(challenge, account.ntHash);
    // No LM answer: 24 zeros, and the flag that says so (RFC 2433 section 4).
    const value = Buffer.concat([new Uint8Array(24), response, Uint8Array.of(1)]);
    return { value, proof: null, keys: (bits) => startKeysV1(account, challenge, bits) };
  }

  #md5(identifier: number, challenge: Uint8Array): Answer | null {
    const { secret } = this.options;
    if (!("clear" in secret)) return null;
    const value = chapMd5(identifier, secret.clear, challenge);
    return { value, proof: null, keys: () => null };
  }

  #v2(authenticatorChallenge: Uint8Array, hash: Uint8Array): Answer | null {
    if (authenticatorChallenge.length !== 16) return null;
    const peerChallenge = (this.options.random ?? randomBytes)(16);
    const exchange: Exchange = { authenticatorChallenge, peerChallenge, name: this.name };
    const response = ntResponseV2(exchange, hash);
    const value = Buffer.concat([peerChallenge, new Uint8Array(8), response, Uint8Array.of(0)]);
    const proof = authenticatorResponse(exchange, hash, response);
    return { value, proof, keys: (bits) => startKeysV2(hash, response, bits, false) };
  }

  #taken({ proof, keys }: Answered, data: Uint8Array): void {
    if (proof !== null && !isProof(proof, data)) {
      this.fail("bad-authenticator", "the other side did not prove that it knows the password");
      return;
    }
    this.succeed(keys);
  }

  #refused(data: Uint8Array): void {
    const code = readErrorCode(Buffer.from(data.subarray(0, 512)).toString("latin1"));
    const reason = code === null ? "refused" : errorSentence(code);
    const kind = code === ErrorCode.RESTRICTED_HOURS ? "not-now" : "denied";
    this.fail(kind, `the other side said: ${reason}`);
  }
}

/** `S=` and 40 digits, then nothing, or a space and more (RFC 2759 section 5). */
function isProof(proof: string, data: Uint8Array): boolean {
  const wanted = Buffer.from(proof, "ascii");
  const rest = data.subarray(wanted.length);
  const ends = rest.length === 0 || rest[0] === 0x20 || rest[0] === 0x4d || rest[0] === 0;
  return isEqual(wanted, data.subarray(0, wanted.length)) && ends;
}

class PapPeer extends Peer {
  protected readonly timer: Repeater;
  readonly #identifier: number;

  constructor(options: AuthPeerOptions, password: string, events: AuthEvents) {
    super(options, events);
    const identifier = (options.random ?? randomBytes)(1)[0] ?? 0;
    const data = packets.writeRequest(
      this.name.subarray(0, 255),
      Buffer.from(password).subarray(0, 255),
    );
    const request = packets.writePacket({
      protocol: packets.PAP,
      code: packets.PapCode.REQUEST,
      identifier,
      data,
    });
    this.#identifier = identifier;
    this.timer = new Repeater(RESTART_MS, SENDS_MAX, () => events.send(request));
  }

  receive(frame: Uint8Array): void {
    const packet = packets.readPacket(frame);
    if (packet?.protocol !== packets.PAP || packet.identifier !== this.#identifier) return;
    if (this.isFailed) return;
    if (packet.code === packets.PapCode.ACK) this.succeed(() => null);
    else if (packet.code === packets.PapCode.NAK) this.fail("denied", "the other side refused us");
  }
}

/** Fails at once: the method needs the password, and only its hash is known. */
class HashOnly extends Peer {
  protected readonly timer = new Repeater(RESTART_MS, SENDS_MAX, () => {});
  override start(): void {
    this.fail("denied", `${this.options.method} needs the password itself, not its hash`);
  }
  receive(): void {}
}

/** The side that proves itself, by one method. Insecure, whichever it is. */
export function createAuthPeer(options: AuthPeerOptions, events: AuthEvents): AuthMachine {
  const { method, secret } = options;
  const hasClear = "clear" in secret;
  if (!hasClear && (method === "pap" || method === "chap-md5")) {
    return new HashOnly(options, events);
  }
  if (method === "pap") return new PapPeer(options, hasClear ? secret.clear : "", events);
  return new ChapPeer(options, method, events);
}
