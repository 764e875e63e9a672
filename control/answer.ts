// How requests fail over NATS: service error headers with a number and "MESHD_CODE: what, why, what
// to do".
import { setTimeout as sleep } from "node:timers/promises";
import { ControlError, type ControlErrorCode } from "./errors.js";
import { type Answer, type Link, type Message, newAsk } from "./nats/index.js";
import { isAdminReply } from "./subjects.js";

/** HTTP-like numbers for the stock tools; programs compare the MESHD_ code. */
const numbers: Partial<Record<ControlErrorCode, number>> = {
  MESHD_BAD_REQUEST: 400,
  MESHD_BAD_SETTING: 400,
  MESHD_PROOF_INVALID: 403,
  MESHD_TOKEN_INVALID: 403,
  MESHD_TOKEN_EXPIRED: 403,
  MESHD_TOKEN_REVOKED: 403,
  MESHD_TOKEN_USED: 403,
  MESHD_REMOVED: 403,
  MESHD_NOT_ALLOWED: 403,
  MESHD_NOT_FOUND: 404,
  MESHD_NOT_A_MEMBER: 404,
  MESHD_NAME_TAKEN: 409,
  MESHD_ADDRESS_CLAIMED: 409,
  MESHD_CONFLICT: 409,
  MESHD_DUPLICATE_NODE: 409,
  MESHD_UNDERLAY_IN_POOL: 409,
  MESHD_SETTING_NOT_LIVE: 409,
  MESHD_TOO_MANY: 429,
  MESHD_HOLD_OFF: 503,
  MESHD_POOL_EXHAUSTED: 507,
};

/** Error as a service answers it. An agent's other rooms have MESHD_ codes of their own. */
export function serviceError(error: unknown): { code: number; text: string } {
  const message = error instanceof Error ? error.message : String(error);
  const line = message.replace(/\s+/g, " ").slice(0, 500);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (!/^MESHD_[A-Z_]+$/.test(code)) return { code: 500, text: `MESHD_INTERNAL: ${line}` };
  return { code: numbers[code as ControlErrorCode] ?? 500, text: `${code}: ${line}` };
}

/** Controllers reconnect within this time after a server's restart. */
const patience_ms = 2_000;
/** A controller that is not very busy answers long before: another may be asked as well. */
const second_ms = 5_000;

/** A request that nobody heard may be sent again. */
async function requestPatiently(
  link: Link,
  subject: string,
  text: string,
  timeout_ms: number,
  ask?: string,
) {
  const end = performance.now() + Math.min(patience_ms, timeout_ms);
  for (;;) {
    try {
      return await link.request(subject, text, timeout_ms, ask);
    } catch (error) {
      if (codeOf(error) !== "MESHD_NO_CONTROLLER" || performance.now() > end) throw error;
      // Not all of those who wait for a controller at the same moment.
      await sleep(100 + Math.random() * 200);
    }
  }
}

const codeOf = (error: unknown) => (error instanceof ControlError ? error.code : "");
/** What may be over with the next try: a connection that broke, a controller that went. */
const passing = new Set(["MESHD_NO_NATS", "MESHD_NO_CONTROLLER", "MESHD_TIMEOUT"]);

/**
 * The server hands each request to one of several controllers, and one that hangs (its host was
 * paused) keeps it. So what may be done twice is asked again while the first answer is awaited, and
 * when server or controller are lost under way. The first answer counts; who does it late knows
 * it by its id (controller/asks.ts).
 */
async function requestAgain(link: Link, subject: string, text: string, timeout_ms: number) {
  const end = performance.now() + timeout_ms;
  const left_ms = () => Math.max(1, end - performance.now());
  const id = newAsk();
  const asked: Promise<Answer | ControlError>[] = [];
  const askOnce = async (): Promise<Answer | ControlError> => {
    try {
      const answer = await requestPatiently(link, subject, text, left_ms(), id);
      // What the controller could not do now, its store having no leader, another may, or it later.
      const refusal = answer.error && refusalOf(answer.error.error);
      return refusal && passing.has(refusal.code) ? refusal : answer;
    } catch (error) {
      if (!passing.has(codeOf(error))) throw error;
      return error as ControlError;
    }
  };
  for (;;) {
    asked.push(askOnce());
    const over = new AbortController();
    const wait = { signal: over.signal };
    const later = sleep(Math.min(second_ms, left_ms()), null, wait).catch(() => null);
    const first = await Promise.race([...asked, later]).finally(() => over.abort());
    if (first !== null && !(first instanceof ControlError)) return first;
    if (first !== null) {
      if (performance.now() + patience_ms > end) throw first;
      asked.length = 0;
      await sleep(200 + Math.random() * 300);
    }
  }
}

/** The error that the controller meant. */
function refusalOf(text: string): ControlError {
  const match = /^(MESHD_[A-Z_]+): (.*)$/s.exec(text);
  return new ControlError((match?.[1] ?? "MESHD_INTERNAL") as ControlErrorCode, match?.[2] ?? text);
}

/**
 * One request to a controller; the JSON of its answer, or its error thrown as the ControlError it
 * was there. `again`: done twice it is the same as once, so that it may be sent to another
 * controller, too.
 */
export async function ask(
  link: Link,
  subject: string,
  request: unknown,
  timeout_ms: number,
  options: { again?: boolean } = {},
): Promise<unknown> {
  const send = options.again ? requestAgain : requestPatiently;
  const answer = await send(link, subject, JSON.stringify(request), timeout_ms);
  if (answer.error) throw refusalOf(answer.error.error);
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    throw new ControlError("MESHD_BAD_RECORD", `${subject} answered no JSON`, { cause });
  }
}

/**
 * Answers administrators alone: anybody else's reply subject would make this node write there.
 */
export async function answerAdmin(
  request: Message,
  answer: (request: unknown) => Promise<unknown>,
): Promise<string | undefined> {
  if (!isAdminReply(request.reply)) return undefined;
  return JSON.stringify(await answer(parseRequest(request.text)));
}

/** No text is an empty request, as the stock client sends it. */
function parseRequest(text: string): unknown {
  try {
    return text.trim() === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw new ControlError(
      "MESHD_BAD_REQUEST",
      "the request is no JSON; send a JSON object, or nothing",
      { cause },
    );
  }
}
