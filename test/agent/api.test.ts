// The agent's socket: routing, limits, errors as JSON.

import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ApiServer, type Route, text } from "../../src/agent/api.js";
import { AgentError } from "../../src/agent/errors.js";

const directory = mkdtempSync(join(tmpdir(), "meshd-api-"));
const socketPath = join(directory, "agent.sock");
let api: ApiServer;

const routes: Route[] = [
  { method: "GET", path: /^\/status$/, handle: () => ({ ready: true }) },
  { method: "GET", path: /^\/metrics$/, handle: () => text("text/plain", "meshd_up 1\n") },
  { method: "POST", path: /^\/pods$/, handle: (_, body) => ({ body }) },
  {
    method: "DELETE",
    path: /^\/pods\/([^/]+)$/,
    handle: ([name]) => {
      if (name === "a b") return { removed: name };
      throw new AgentError("MESHD_NOT_FOUND", `no pod ${name}`);
    },
  },
  {
    method: "GET",
    path: /^\/broken$/,
    handle: () => {
      throw new Error("first line\nsecond line");
    },
  },
];

interface Answer {
  status: number;
  type: string;
  text: string;
}

function ask(method: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, fail) => {
    const asked = request({ socketPath, method, path }, (response) => {
      let got = "";
      response.on("data", (piece: Buffer) => {
        got += piece.toString();
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers["content-type"] ?? "",
          text: got,
        }),
      );
    });
    asked.on("error", fail);
    asked.end(body);
  });
}

test.before(async () => {
  api = await ApiServer.listenOnSocket(socketPath, routes, () => undefined);
});
test.after(async () => {
  await api.close();
  rmSync(directory, { recursive: true, force: true });
});

test("only the owner may use the socket", () => {
  assert.is(statSync(socketPath).mode & 0o777, 0o600);
});

test("questions are answered as JSON, metrics as text", async () => {
  assert.equal(await ask("GET", "/status?x=1"), {
    status: 200,
    type: "application/json",
    text: '{"ready":true}\n',
  });
  assert.equal(await ask("GET", "/metrics"), {
    status: 200,
    type: "text/plain",
    text: "meshd_up 1\n",
  });
});

test("bodies are JSON and path parameters are decoded", async () => {
  assert.is((await ask("POST", "/pods", '{"name":"a"}')).text, '{"body":{"name":"a"}}\n');
  assert.is((await ask("DELETE", "/pods/a%20b")).text, '{"removed":"a b"}\n');
});

test("every refusal has a status, a code and one line", async () => {
  const cases: [string, string, string | undefined, number, string][] = [
    ["GET", "/nothing", undefined, 404, "MESHD_NOT_FOUND"],
    ["POST", "/status", undefined, 405, "MESHD_METHOD"],
    ["POST", "/pods", "{", 400, "MESHD_BAD_REQUEST"],
    ["DELETE", "/pods/%ff", undefined, 400, "MESHD_BAD_REQUEST"],
    ["DELETE", "/pods/none", undefined, 404, "MESHD_NOT_FOUND"],
    ["GET", "/broken", undefined, 500, "MESHD_INTERNAL"],
    ["POST", "/pods", `"${"x".repeat(70_000)}"`, 413, "MESHD_TOO_LARGE"],
  ];
  for (const [method, path, body, status, code] of cases) {
    const answer = await ask(method, path, body);
    assert.is(answer.status, status, `${method} ${path}`);
    const { error } = JSON.parse(answer.text) as { error: { code: string; message: string } };
    assert.is(error.code, code);
    assert.not.match(error.message, "\n");
  }
});

test("a socket file left by a dead agent is replaced", async () => {
  const again = await ApiServer.listenOnSocket(join(directory, "b.sock"), routes, () => undefined);
  await again.close();
  const third = await ApiServer.listenOnSocket(join(directory, "b.sock"), routes, () => undefined);
  await third.close();
});

test("a client that connects and says nothing holds up no end", async () => {
  const path = join(directory, "silent.sock");
  const server = await ApiServer.listenOnSocket(path, routes, () => undefined);
  const silent = connect(path);
  await once(silent, "connect");
  const tooLate = sleep(20_000, "still open", { ref: false });
  assert.is(await Promise.race([server.close(), tooLate]), undefined);
  silent.destroy();
});

test.run();
