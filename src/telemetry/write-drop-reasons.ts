// Writes docs/drop-reasons.md; run after a change of the reasons:
// node dist/src/telemetry/write-drop-reasons.js
import { writeFileSync } from "node:fs";
import { dropReasonsPage } from "./drops.js";

writeFileSync(new URL("../../../docs/drop-reasons.md", import.meta.url), dropReasonsPage());
