// All faults, by name.
import type { Fault } from "../fault.js";
import { changeFaults } from "./change.js";
import { clockFaults } from "./clock.js";
import { controlFaults } from "./control.js";
import { diskFaults } from "./disk.js";
import { nodeFaults } from "./node.js";
import { pathFaults } from "./path.js";

export const FAULTS: readonly Fault[] = [
  ...controlFaults,
  ...nodeFaults,
  ...pathFaults,
  ...changeFaults,
  ...diskFaults,
  ...clockFaults,
];
