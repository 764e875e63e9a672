// The handle table: what a worker reads after the control thread replaced its handles.
import { readdirSync } from "node:fs";
import { closeDescriptor, openWake } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { SENDING_SOCKETS } from "../../assembly/shared/layout.js";
import { openPorts } from "../../src/datapath/handle-set.js";
import { HandleTable, LISTENING_MAX } from "../../src/datapath/handles.js";

test("a worker takes the handles that were published last and marks them as seen", () => {
  const control = new HandleTable();
  const worker = new HandleTable(control.buffer);
  control.publish({ tun: 7, sockets: [20, 21, 22], listening: [{ fd: 20, kind: 0 }] });
  const listening = [
    { fd: 30, kind: 1 },
    { fd: 44, kind: 2 },
  ];
  control.publish({ tun: 8, sockets: [30, 31], listening });
  assert.is(control.isSeen(), false);
  const handles = worker.take();
  assert.is(handles.tun, 8);
  assert.equal([...handles.sockets], [30, 31]);
  assert.equal([...handles.listening], [30, 1, 44, 2]);
  assert.is(control.isSeen(), true);
});

test("new handles are unseen until the worker takes them", () => {
  const control = new HandleTable();
  const worker = new HandleTable(control.buffer);
  control.publish({ tun: 7, sockets: [20], listening: [] });
  const first = worker.take();
  control.publish({ tun: 7, sockets: [21], listening: [] });
  assert.is(control.isSeen(), false);
  assert.is.not(worker.version(), first.version);
  worker.take();
  assert.is(control.isSeen(), true);
});

test("as many sockets fit as a worker sends from and listens on", () => {
  const table = new HandleTable();
  const sockets = [...Array(SENDING_SOCKETS).keys()];
  const listening = [...Array(LISTENING_MAX).keys()].map((fd) => ({ fd, kind: fd + 100 }));
  table.publish({ tun: 1, sockets, listening });
  const handles = table.take();
  assert.equal([...handles.sockets], sockets);
  const pairs = listening.flatMap(({ fd, kind }) => [fd, kind]);
  assert.equal([...handles.listening], pairs);
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
