// natsd: a real nats-server, started, found again, stopped; and the errors that an operator meets.
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createMesh, type Mesh } from "../../control/index.js";
import { NatsdError, startNatsServer, stopNatsServer } from "../../src/natsd/index.js";
import { clearDirectory, makeDirectory } from "../support/ends.js";

async function inDirectory(work: (dir: string, mesh: Mesh) => Promise<void>): Promise<void> {
  const dir = makeDirectory("natsd");
  try {
    await work(dir, await createMesh(join(dir, "mesh"), { servers: [] }));
  } finally {
    clearDirectory(dir);
  }
}

/** What has ended and that nobody looked after yet is no life. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

test("a server is started on a free port, found by the next start, and stopped", async () => {
  await inDirectory(async (dir, mesh) => {
    const first = await startNatsServer({ mesh, dir: join(dir, "nats"), port: 0 });
    try {
      assert.match(first.url, /^tls:\/\/127\.0\.0\.1:\d+$/);
      assert.not(first.adopted);
      const second = await startNatsServer({ mesh, dir: join(dir, "nats"), port: 0 });
      assert.ok(second.adopted);
      assert.is(second.pid, first.pid);
      assert.is(second.url, first.url);
    } finally {
      await first.stop();
    }
    assert.not(isAlive(first.pid));
    const { port } = first;
    const again = await startNatsServer({ mesh, dir: join(dir, "nats"), port });
    try {
      assert.is(again.port, port);
      assert.not(again.adopted);
    } finally {
      await again.stop();
    }
  });
});

test("a server that listens elsewhere than asked for is stopped and started anew", async () => {
  await inDirectory(async (dir, mesh) => {
    const place = { mesh, dir: join(dir, "nats") };
    const first = await startNatsServer({ ...place, port: 0, detached: true });
    const second = await startNatsServer({ ...place, host: "127.0.0.2", port: first.port });
    try {
      assert.not(second.adopted);
      assert.is(second.url, `tls://127.0.0.2:${first.port}`);
      assert.not(await first.running());
      assert.ok(await second.running());
      assert.ok(await stopNatsServer(place.dir), "whoever started it");
      assert.not(await second.running());
      assert.not(await stopNatsServer(place.dir));
    } finally {
      await second.stop();
    }
  });
});

test("a busy port is refused, naming it", async () => {
  await inDirectory(async (dir, mesh) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const address = other.address();
    const port = typeof address === "object" && address ? address.port : 0;
    try {
      await startNatsServer({ mesh, dir: join(dir, "nats"), port });
      assert.unreachable("it started");
    } catch (error) {
      assert.instance(error, NatsdError);
      assert.is((error as NatsdError).code, "MESHD_PORT_IN_USE");
      assert.match((error as NatsdError).message, new RegExp(`port ${port} is in use`));
    } finally {
      other.close();
    }
  });
});

test("a missing binary is refused with the package's name", async () => {
  await inDirectory(async (dir, mesh) => {
    try {
      await startNatsServer({ mesh, dir: join(dir, "nats"), port: 0, binary: join(dir, "none") });
      assert.unreachable("it started");
    } catch (error) {
      assert.is((error as NatsdError).code, "MESHD_NO_NATS_SERVER");
      assert.match((error as NatsdError).message, /Debian package nats-server/);
    }
  });
});

test("a server that ends at once is reported with its log", async () => {
  await inDirectory(async (dir, mesh) => {
    try {
      await startNatsServer({ mesh, dir: join(dir, "nats"), port: 0, binary: "/bin/false" });
      assert.unreachable("it started");
    } catch (error) {
      assert.is((error as NatsdError).code, "MESHD_NATS_SERVER");
      assert.match((error as NatsdError).message, /did not become ready/);
    }
  });
});

test("a server whose process id cannot be kept does not stay behind", async () => {
  await inDirectory(async (dir, mesh) => {
    const nats = join(dir, "nats");
    await mkdir(join(nats, "nats-server.json"), { recursive: true });
    try {
      await startNatsServer({ mesh, dir: nats, port: 0 });
      assert.unreachable("it started");
    } catch (error) {
      assert.is((error as NodeJS.ErrnoException).code, "EISDIR");
    }
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""));
    const left = (await Promise.all(lines)).filter((line) => line.includes(nats));
    assert.equal(left, []);
  });
});

test.run();
