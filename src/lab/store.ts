// Where a lab keeps its files, and the one file that says what was asked for.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LabError } from "./error.js";
import { checkShape, type LabPlan, type LabShape, planLab } from "./plan.js";

/** Folders below which labs live; the command line passes its --state-dir and --run-dir. */
export interface LabRoots {
  stateDir: string;
  runDir: string;
}

const labsFolder = (roots: LabRoots) => join(roots.stateDir, "labs");
const stateFolder = (roots: LabRoots, name: string) => join(labsFolder(roots), name);
const runFolder = (roots: LabRoots, name: string) => join(roots.runDir, "labs", name);
const shapeFile = (roots: LabRoots, name: string) => join(stateFolder(roots, name), "lab.json");

/** The plan of a shape, with its files below the roots. @throws LabError MESHD_LAB_SHAPE */
export function planAt(roots: LabRoots, shape: LabShape): LabPlan {
  checkShape(shape);
  return planLab(shape, stateFolder(roots, shape.name), runFolder(roots, shape.name));
}

/** Writes what the lab is to be; mode 0600, folders 0700. */
export function saveShape(roots: LabRoots, shape: LabShape): void {
  mkdirSync(stateFolder(roots, shape.name), { recursive: true, mode: 0o700 });
  mkdirSync(runFolder(roots, shape.name), { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify(shape, null, 2)}\n`;
  const path = shapeFile(roots, shape.name);
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The saved shape of a lab, undefined where there is none. @throws LabError MESHD_LAB_FILE */
export function loadShape(roots: LabRoots, name: string): LabShape | undefined {
  const path = shapeFile(roots, name);
  if (!existsSync(path)) return undefined;
  try {
    const shape = JSON.parse(readFileSync(path, "utf8")) as LabShape;
    checkShape(shape);
    return shape;
  } catch (cause) {
    const message = `${path} cannot be read as a lab; 'meshd lab down --name ${name}' removes it`;
    throw new LabError("MESHD_LAB_FILE", message, { cause });
  }
}

/** Names of the labs that have files here. */
export function labNames(roots: LabRoots): string[] {
  return existsSync(labsFolder(roots)) ? readdirSync(labsFolder(roots)).sort() : [];
}

/** Removes every file of a lab, and the folders above them that are empty then. */
export function removeFiles(roots: LabRoots, name: string): void {
  rmSync(stateFolder(roots, name), { recursive: true, force: true });
  rmSync(runFolder(roots, name), { recursive: true, force: true });
  for (const root of [roots.stateDir, roots.runDir]) {
    for (const folder of [join(root, "labs"), root]) {
      if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
    }
  }
}
