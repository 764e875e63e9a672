// The other process of pass.test.mjs: takes what comes on descriptor 3 and uses it.
import * as tun from "../dist/index.js";
import { Batch } from "./support.mjs";

const { fds, data } = tun.receiveDescriptorMessage(3, 4);
const socket = tun.adoptUdp(fds[0]);
const queue = fds[1] === undefined ? null : tun.adoptTun(fds[1]);
const batch = new Batch();
const [packet] = batch.collect(tun.readUdpBatch, socket.fd, 1);
batch.put(0, {
  bytes: Buffer.from([...packet.bytes, ...data]),
  peer: packet.peer,
  port: packet.port,
});
const sent = tun.writeUdpBatch(new Int32Array([socket.fd]), batch.memory, batch.at, 1);
console.log(JSON.stringify({ sent, port: socket.port, offload: socket.receiveOffload, queue }));
