// The heartbeat key of a controller: by it members know that their view is current.
import type { Link } from "../nats/index.js";
import type { Core } from "./core.js";

export class Heart {
  readonly #core: Core;
  readonly #link: Link;
  #timer: NodeJS.Timeout | null = null;
  #failedBeats = 0;

  constructor(core: Core, link: Link) {
    this.#core = core;
    this.#link = link;
  }

  /** The first beat, which must be taken; from then on one each `beat_ms`. */
  async begin(beat_ms: number): Promise<void> {
    await this.#beat();
    this.#timer = setInterval(() => {
      this.#beat().catch((error) => {
        this.#failedBeats += 1;
        this.#core.log("beat-failed", { reason: String(error) });
      });
    }, beat_ms);
  }

  /** Beats in a row that the store did not take, though its server is connected. */
  get failedBeats(): number {
    return this.#failedBeats;
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    if (this.#link.connected) {
      const { controllerId, store } = this.#core;
      await store.beat({ controllerId, time: new Date().toISOString() });
    }
    this.#failedBeats = 0;
  }
}
