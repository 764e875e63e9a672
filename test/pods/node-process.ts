// The pods room of one node, run by pods.test.ts inside that node's network namespace. It is told
// over the process channel which method to call, and answers with the value or the error.
import { type Pod, PodError, Pods, type PodsOptions } from "../../src/pods/index.js";

export interface Call {
  id: number;
  method: "open" | "add" | "remove" | "list" | "restore" | "setMtu" | "removeAll" | "devices";
  argument: unknown;
}

export interface Answer {
  id: number;
  value?: unknown;
  error?: { code: string; message: string };
}

let pods: Pods | undefined;

async function perform(call: Call): Promise<unknown> {
  if (call.method === "open") {
    pods = await Pods.open(call.argument as PodsOptions);
    return undefined;
  }
  if (pods === undefined) throw new Error("open first");
  switch (call.method) {
    case "add":
      return pods.add(call.argument as Pod);
    case "remove":
      return pods.remove(call.argument as string);
    case "restore": {
      const { changes, failed } = await pods.restore();
      return { changes, failed: failed.map((item) => [item.name, item.error.code]) };
    }
    case "setMtu":
      return pods.setMtu(call.argument as number);
    case "removeAll":
      return pods.removeAll();
    case "devices":
      return pods.devices();
    case "list":
      return pods.list();
  }
}

process.on("message", (call: Call) => {
  perform(call).then(
    (value) => process.send?.({ id: call.id, value } satisfies Answer),
    (error: unknown) => {
      const code = error instanceof PodError ? error.code : "other";
      const message = error instanceof Error ? error.message : String(error);
      process.send?.({ id: call.id, error: { code, message } } satisfies Answer);
    },
  );
});
