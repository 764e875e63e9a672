// The wait for a first complete view.
import type { EventEmitter } from "node:events";
import { ControlError } from "../errors.js";
import type { MeshSnapshot } from "../records.js";

interface Viewed extends EventEmitter {
  snapshot(): MeshSnapshot | null;
}

/** What a session shows at its next "snapshot". MESHD_TIMEOUT. */
export function nextSnapshot(session: Viewed, timeout_ms: number): Promise<MeshSnapshot> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      session.off("snapshot", take);
      const what =
        `no view of the mesh within ${timeout_ms} ms; check that the NATS server and a ` +
        "controller run";
      reject(new ControlError("MESHD_TIMEOUT", what));
    }, timeout_ms);
    const take = () => {
      const snapshot = session.snapshot();
      if (snapshot === null) return;
      clearTimeout(timer);
      session.off("snapshot", take);
      resolve(snapshot);
    };
    session.on("snapshot", take);
  });
}
