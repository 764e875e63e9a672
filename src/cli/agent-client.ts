// Questions to the agent on this host: HTTP over its unix socket, JSON both ways.
import { request as httpRequest } from "node:http";
import {
  AGENT_REPLY_BYTES_MAX,
  AGENT_REQUEST_TIMEOUT_MS,
  type Settings,
  SOCKET_PATH_LENGTH_MAX,
} from "../config/index.js";
import { CommandError } from "./command.js";

export interface AgentQuestion {
  method?: "GET" | "POST" | "DELETE";
  body?: unknown;
  timeout_ms?: number;
}

export function socketPath(settings: Pick<Settings, "runDir">): string {
  const path = `${settings.runDir}/agent.sock`;
  if (path.length <= SOCKET_PATH_LENGTH_MAX) return path;
  const message = `${path} is longer than a socket's path may be; use a shorter --run-dir`;
  throw new CommandError("MESHD_PATH_TOO_LONG", message);
}

/**
 * Asks the agent and gives its answer.
 * @throws CommandError MESHD_AGENT_DOWN, _TIMEOUT, _ANSWER, or with the agent's own code
 */
export async function askAgent(
  settings: Pick<Settings, "runDir">,
  path: string,
  question: AgentQuestion = {},
): Promise<unknown> {
  const reply = await exchange(socketPath(settings), path, question);
  const answer = parse(reply.text);
  if (reply.status >= 200 && reply.status < 300) return answer;
  throw refusal(answer, reply.status);
}

/** As `askAgent`, for what is no JSON. */
export async function askAgentText(
  settings: Pick<Settings, "runDir">,
  path: string,
  timeout_ms: number,
): Promise<string> {
  const reply = await exchange(socketPath(settings), path, { timeout_ms });
  if (reply.status >= 200 && reply.status < 300) return reply.text;
  throw refusal(null, reply.status);
}

interface Reply {
  status: number;
  text: string;
}

function exchange(socket: string, path: string, question: AgentQuestion): Promise<Reply> {
  const body = question.body === undefined ? "" : JSON.stringify(question.body);
  const timeout_ms = question.timeout_ms ?? AGENT_REQUEST_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    };
    const method = question.method ?? "GET";
    // A connection each: a kept one may belong to an agent that has been restarted since.
    const options = { socketPath: socket, path, method, headers, agent: false } as const;
    const request = httpRequest(options, (response) => {
      const pieces: Buffer[] = [];
      let length = 0;
      response.on("data", (piece: Buffer) => {
        length += piece.length;
        if (length > AGENT_REPLY_BYTES_MAX) request.destroy(tooLong());
        pieces.push(piece);
      });
      response.on("end", () => {
        clearTimeout(timer);
        const text = Buffer.concat(pieces).toString("utf8");
        resolve({ status: response.statusCode ?? 0, text });
      });
      response.on("error", reject);
    });
    const timer = setTimeout(() => request.destroy(noAnswer(socket, timeout_ms)), timeout_ms);
    request.on("error", (error) => {
      clearTimeout(timer);
      reject(explain(error, socket));
    });
    request.end(body);
  });
}

function noAnswer(socket: string, timeout_ms: number): CommandError {
  const message = `the agent at ${socket} is silent for ${timeout_ms / 1000} s; look at its log`;
  return new CommandError("MESHD_AGENT_TIMEOUT", message);
}

function tooLong(): CommandError {
  return new CommandError("MESHD_AGENT_ANSWER", "the agent's answer is too long; is it meshd?");
}

function explain(error: Error, socket: string): Error {
  if (error instanceof CommandError) return error;
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    const user = process.geteuid?.() === 0 ? "" : " as root";
    const message = `no agent runs here (${socket}); start it with 'meshd join'${user}`;
    return new CommandError("MESHD_AGENT_DOWN", message, { cause: error });
  }
  if (code === "EACCES") {
    const message = `${socket} is for root alone; try again as root`;
    return new CommandError("MESHD_PERMISSION", message, { cause: error });
  }
  const message = `the agent at ${socket} broke off: ${error.message}; look at its log`;
  return new CommandError("MESHD_AGENT_ANSWER", message, { cause: error });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const message = "the agent's answer is no JSON; is another program listening there?";
    throw new CommandError("MESHD_AGENT_ANSWER", message, { cause });
  }
}

function refusal(answer: unknown, status: number): CommandError {
  const error = isObject(answer) && isObject(answer.error) ? answer.error : {};
  const code = typeof error.code === "string" ? error.code : "MESHD_AGENT_ANSWER";
  const message =
    typeof error.message === "string" ? error.message : `the agent answered ${status}`;
  return new CommandError(code, message);
}

export function isObject(given: unknown): given is Record<string, unknown> {
  return typeof given === "object" && given !== null && !Array.isArray(given);
}
