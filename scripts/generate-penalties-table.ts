// Writes docs/penalties.md from the definitions of the penalties. Run: npm run docs:penalties
import { writeFileSync } from "node:fs";
import { penaltiesTable } from "./penalties-table.ts";

writeFileSync(new URL("../docs/penalties.md", import.meta.url), await penaltiesTable());
