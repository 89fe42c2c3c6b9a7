// Writes docs/backends.md from the lowering table. Run: npm run docs:backends
import { writeFileSync } from "node:fs";
import { backendsTable } from "./backends-table.ts";

writeFileSync(new URL("../docs/backends.md", import.meta.url), backendsTable());
