// Ends one worker thread of a running agent from outside, as a crash would: through Node's own
// inspector, which SIGUSR1 opens, so that the product needs no door for it. Runs in the agent's
// network namespace:
//
//   node --experimental-websocket kill-worker.js PID
import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const INSPECTOR = "http://127.0.0.1:9229/json";
const OPEN_LIMIT_MS = 10_000;

/** The part of the inspector's protocol that is used here. */
interface Socket {
  send(text: string): void;
  close(): void;
  addEventListener(name: string, heard: (event: { data: string }) => void): void;
}
type SocketMaker = new (url: string) => Socket & EventTarget;

interface Reply {
  id?: number;
  error?: { message: string };
  result?: {
    exceptionDetails?: { text: string };
    result?: { objectId?: string; value?: unknown };
    objects?: { objectId?: string };
  };
}

/** Runs in the agent: `this` is an array of all its Worker objects. */
const TERMINATE = `async function () {
  const isAlive = (worker) => {
    try {
      return worker.threadId > 0;
    } catch {
      return false;
    }
  };
  const alive = this.filter(isAlive);
  const threads = alive.map((worker) => worker.threadId);
  setTimeout(() => process._debugEnd(), 100);
  alive[0]?.terminate();
  return threads;
}`;

function inspectorAddress(): Promise<string> {
  return new Promise((resolve, fail) => {
    const asked = get(INSPECTOR, { agent: false }, (response) => {
      let body = "";
      response.on("data", (piece) => {
        body += piece;
      });
      response.on("end", () => {
        const [target] = JSON.parse(body) as { webSocketDebuggerUrl: string }[];
        resolve(target?.webSocketDebuggerUrl ?? "");
      });
    });
    asked.on("error", fail);
  });
}

async function openInspector(pid: number): Promise<string> {
  const deadline = Date.now() + OPEN_LIMIT_MS;
  process.kill(pid, "SIGUSR1");
  for (;;) {
    const url = await inspectorAddress().catch(() => undefined);
    if (url !== undefined) return url;
    if (Date.now() > deadline) throw new Error(`process ${pid} opened no inspector`);
    await sleep(20);
  }
}

class Inspector {
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #count = 0;

  constructor(readonly socket: Socket) {
    socket.addEventListener("message", ({ data }) => {
      const reply = JSON.parse(data) as Reply;
      this.#waiting.get(reply.id ?? 0)?.(reply);
    });
  }

  async ask(method: string, params: Record<string, unknown>): Promise<Reply["result"]> {
    this.#count += 1;
    const id = this.#count;
    const answered = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    this.socket.send(JSON.stringify({ id, method, params }));
    const { error, result } = await answered;
    const problem = error?.message ?? result?.exceptionDetails?.text;
    if (problem !== undefined) throw new Error(`${method}: ${problem}`);
    return result;
  }
}

async function killWorker(pid: number): Promise<void> {
  const { WebSocket } = globalThis as unknown as { WebSocket: SocketMaker };
  const socket = new WebSocket(await openInspector(pid));
  await once(socket, "open");
  const inspector = new Inspector(socket);
  const prototype = await inspector.ask("Runtime.evaluate", {
    expression: "require('node:worker_threads').Worker.prototype",
    includeCommandLineAPI: true,
  });
  const found = await inspector.ask("Runtime.queryObjects", {
    prototypeObjectId: prototype?.result?.objectId,
  });
  const { objectId } = found?.objects ?? {};
  const call = { objectId, functionDeclaration: TERMINATE, awaitPromise: true };
  const answer = await inspector.ask("Runtime.callFunctionOn", { ...call, returnByValue: true });
  process.stdout.write(`${JSON.stringify(answer?.result?.value)}\n`);
  socket.close();
}

await killWorker(Number(process.argv[2]));
process.exit(0);
