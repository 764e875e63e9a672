// What every carrier of the bench is made of, and how it is written down.
import type { Lab } from "./lab.js";

/** A carrier that is set up. */
export interface Path {
  /** Of the server, through this carrier. */
  address: string;
  /** Daemons of both hosts; none where the kernel does it all. */
  pids: number[];
  /** Version and origin of what carries, where it is not ours. */
  version?: string;
}

/** A way to carry packets between the two hosts of a lab. */
export interface Kind {
  /** Head of its column. */
  title: string;
  /** Why it cannot run on this machine, in one line; undefined when it can. */
  isAvailable(): string | undefined;
  /** Leaves nothing behind when it fails. @throws with the words of what failed */
  setUp(lab: Lab): Promise<Path>;
  /** Ends what setUp began; what is missing here goes with the lab. */
  tearDown?(lab: Lab, path: Path): Promise<void>;
}

/** For what needs nothing but the kernel and this repository. */
export const always = (): undefined => undefined;
