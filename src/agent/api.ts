// HTTP+JSON on <run-dir>/agent.sock (0600): how status, counters and pods are asked for on this
// host. Knows HTTP and shapes, nothing of the agent: it is given one handler per question.
import { chmod, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { AgentError, codeOf, messageOf } from "./errors.js";
import type { AgentLog, ApiErrorBody } from "./types.js";

/** Longest request body read, bytes. */
const BODY_BYTES_MAX = 65_536;
/** A client that sends its request slower than this is cut off. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Requests that are under way when the agent ends have so long. */
const CLOSE_MS = 1000;
/** Requests at work at once; more are answered 503. */
const REQUESTS_MAX = 64;

/** A reply other than JSON. */
export interface TextReply {
  contentType: string;
  text: string;
}

/** Answers one request: path parameters and the parsed body (undefined without one). */
export type Handler = (parameters: string[], body: unknown) => Promise<unknown> | unknown;

export interface Route {
  method: "GET" | "POST" | "DELETE";
  /** Matches the whole path; groups become parameters, percent-decoded. */
  path: RegExp;
  handle: Handler;
}

/** HTTP status by error code; everything not named is the agent's own failure. */
const STATUS_OF: Record<string, number> = {
  MESHD_BAD_REQUEST: 400,
  MESHD_NOT_FOUND: 404,
  MESHD_METHOD: 405,
  MESHD_TOO_LARGE: 413,
  MESHD_PODS_EXIST: 409,
  MESHD_DRAINING: 409,
  MESHD_POD_EXISTS: 409,
  MESHD_POD_NOT_FOUND: 404,
  MESHD_POD_BAD_NAME: 400,
  MESHD_POD_BAD_LABEL: 400,
  MESHD_POD_NETNS: 409,
  MESHD_POD_ADDRESSES_EXHAUSTED: 409,
  MESHD_STOPPING: 503,
  MESHD_NO_NATS: 503,
  MESHD_BUSY: 503,
};

class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export function text(contentType: string, body: string): TextReply {
  return { contentType, text: body };
}

function isText(reply: unknown): reply is TextReply {
  return typeof reply === "object" && reply !== null && "contentType" in reply && "text" in reply;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > BODY_BYTES_MAX) {
      throw new RequestError("MESHD_TOO_LARGE", `body is longer than ${BODY_BYTES_MAX} bytes`);
    }
    pieces.push(piece);
  }
  if (length === 0) {
    return undefined;
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString("utf8")) as unknown;
  } catch (cause) {
    throw new AgentError("MESHD_BAD_REQUEST", "body is not JSON", { cause });
  }
}

function decode(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? "");
  } catch (cause) {
    throw new AgentError("MESHD_BAD_REQUEST", "path is not percent-encoded text", { cause });
  }
}

/** Finds the route or says by error whether path or method is the one that does not exist. */
function match(routes: Route[], method: string, url: string): [Route, string[]] {
  const path = url.split("?", 1)[0] ?? "/";
  const allowed: string[] = [];
  for (const route of routes) {
    const found = route.path.exec(path);
    if (found !== null && route.method === method) {
      return [route, found.slice(1).map(decode)];
    }
    if (found !== null) {
      allowed.push(route.method);
    }
  }
  if (allowed.length > 0) {
    throw new RequestError("MESHD_METHOD", `${method} ${path}: use ${allowed.join(" or ")}`);
  }
  throw new AgentError("MESHD_NOT_FOUND", `no such path: ${path}`);
}

function send(response: ServerResponse, status: number, reply: unknown): void {
  const typed = isText(reply)
    ? reply
    : { contentType: "application/json", text: `${JSON.stringify(reply ?? {})}\n` };
  response.writeHead(status, {
    "content-type": typed.contentType,
    "content-length": Buffer.byteLength(typed.text),
  });
  response.end(typed.text);
}

export class ApiServer {
  private working = 0;

  private constructor(
    private readonly server: Server,
    private readonly log: AgentLog,
  ) {}

  /** Serves `routes` on a unix socket; a dead socket file of that name is replaced. */
  static async listenOnSocket(path: string, routes: Route[], log: AgentLog): Promise<ApiServer> {
    await rm(path, { force: true });
    const api = ApiServer.create(routes, log);
    // umask instead of a chmod afterwards: there is no moment in which others could connect.
    const umask = process.umask(0o177);
    try {
      await api.listen((done) => api.server.listen(path, done));
    } finally {
      process.umask(umask);
    }
    await chmod(path, 0o600);
    return api;
  }

  /** Serves `routes` on TCP (used for /metrics alone). */
  static async listenOnTcp(
    at: { host: string; port: number },
    routes: Route[],
    log: AgentLog,
  ): Promise<ApiServer> {
    const api = ApiServer.create(routes, log);
    await api.listen((done) => api.server.listen(at.port, at.host, done));
    return api;
  }

  private static create(routes: Route[], log: AgentLog): ApiServer {
    const server = createServer();
    server.requestTimeout = REQUEST_TIMEOUT_MS;
    server.headersTimeout = REQUEST_TIMEOUT_MS;
    const api = new ApiServer(server, log);
    server.on("request", (request, response) => void api.answer(routes, request, response));
    return api;
  }

  private listen(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve, fail) => {
      this.server.once("error", fail);
      start(() => {
        this.server.off("error", fail);
        this.server.on("error", (error) => this.log("api.error", { error: messageOf(error) }));
        resolve();
      });
    });
  }

  private async answer(
    routes: Route[],
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    this.working++;
    try {
      if (this.working > REQUESTS_MAX) {
        throw new RequestError("MESHD_BUSY", `more than ${REQUESTS_MAX} requests at once`);
      }
      const [route, parameters] = match(routes, request.method ?? "GET", request.url ?? "/");
      const body = await readBody(request);
      send(response, 200, await route.handle(parameters, body));
    } catch (error) {
      this.fail(request, response, error);
    } finally {
      this.working--;
    }
  }

  private fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const code = codeOf(error);
    const status = STATUS_OF[code] ?? 500;
    const fields = { method: request.method, url: request.url, code, error: messageOf(error) };
    this.log("api.refused", fields);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // What is left of the request is not read: say so and close.
    response.setHeader("connection", "close");
    send(response, status, { error: { code, message: messageOf(error) } } satisfies ApiErrorBody);
  }

  /** What is under way gets a moment. Who connected and says nothing has no time limit by then. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeIdleConnections();
    const timer = setTimeout(() => this.server.closeAllConnections(), CLOSE_MS);
    await closed;
    clearTimeout(timer);
  }
}
