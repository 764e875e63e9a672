// The handle table: what a worker reads after the control thread replaced its handles.
import { readdirSync } from "node:fs";
import { closeDescriptor, openWake } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ENTROPY_SOCKETS } from "../../assembly/shared/layout.js";
import { openPorts } from "../../src/datapath/handle-set.js";
import { HandleTable } from "../../src/datapath/handles.js";

test("a worker takes the handles that were published last and marks them as seen", () => {
  const control = new HandleTable();
  const worker = new HandleTable(control.buffer);
  control.publish(7, [20, 21, 22]);
  control.publish(8, [30, 31]);
  assert.is(control.isSeen(), false);
  const handles = worker.take();
  assert.is(handles.tun, 8);
  assert.equal([...handles.sockets], [30, 31]);
  assert.is(control.isSeen(), true);
});

test("new handles are unseen until the worker takes them", () => {
  const control = new HandleTable();
  const worker = new HandleTable(control.buffer);
  control.publish(7, [20]);
  const first = worker.take();
  control.publish(7, [21]);
  assert.is(control.isSeen(), false);
  assert.is.not(worker.version(), first.version);
  worker.take();
  assert.is(control.isSeen(), true);
});

test("as many sockets fit as a worker sends from", () => {
  const table = new HandleTable();
  const sockets = [...Array(ENTROPY_SOCKETS).keys()];
  table.publish(1, sockets);
  assert.equal([...table.take().sockets], sockets);
});

test("a poller that cannot be set up leaves none of the others open", () => {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  const good = openWake();
  const queues = [{ fd: good }, { fd: good }, { fd: -1 }];
  const sockets = queues.map(() => [{ fd: good }]);
  assert.throws(
    () => openPorts(queues, sockets),
    (error: { code?: string }) => error.code === "MESHD_POLLER_FAILED",
  );
  closeDescriptor(good);
  assert.is(open(), before);
});

test.run();
