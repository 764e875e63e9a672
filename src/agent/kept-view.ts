// The last good view on disk, which a start without NATS runs on, and from when it is: the file's
// time is when it was last known to be current, so that no content is written for it.
import { stat, utimes } from "node:fs/promises";
import { type MemberSession, serializeSnapshot } from "../../control/index.js";
import { replaceFile } from "../host/index.js";
import { readText } from "./files.js";

/** How old the view is that is in force, and where it is from. */
export interface ViewAge {
  from: "nats" | "disk";
  age_ms: number;
}

type Viewer = Pick<MemberSession, "snapshot" | "viewAge_ms">;

export class KeptView {
  private savedRevision = -1;
  private readonly openedAt_ms = performance.now();

  private constructor(
    private readonly path: string,
    /** Of the view that was there when this began; null: there was none. */
    private readonly keptAge_ms: number | null,
  ) {}

  /** What is there, and its text for the session. `anew`: a new membership, it says nothing. */
  static async open(
    path: string,
    anew: boolean,
  ): Promise<{ kept: KeptView; saved: string | null }> {
    const saved = anew ? null : await readText(path);
    if (saved === null) return { kept: new KeptView(path, null), saved };
    const { mtimeMs } = await stat(path);
    // A clock that was set back makes nothing younger than new.
    return { kept: new KeptView(path, Math.max(0, Date.now() - mtimeMs)), saved };
  }

  /** null: no view is in force yet. */
  age(session: Viewer): ViewAge | null {
    const live_ms = session.viewAge_ms();
    if (Number.isFinite(live_ms)) return { from: "nats", age_ms: live_ms };
    if (this.keptAge_ms === null || session.snapshot() === null) return null;
    // The wall clock may jump meanwhile.
    return { from: "disk", age_ms: this.keptAge_ms + performance.now() - this.openedAt_ms };
  }

  /** Writes the view when it has changed, and when it was last current. */
  async save(session: Viewer): Promise<void> {
    const snapshot = session.snapshot();
    if (snapshot === null) return;
    if (snapshot.revision !== this.savedRevision) {
      await replaceFile(this.path, serializeSnapshot(snapshot));
      this.savedRevision = snapshot.revision;
    }
    const age = this.age(session);
    if (age === null) return;
    const at_s = (Date.now() - age.age_ms) / 1000;
    await utimes(this.path, at_s, at_s);
  }
}
