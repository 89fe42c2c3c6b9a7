// Writes docs/ops.md from the table of derivatives. Run: npm run docs:ops
import { writeFileSync } from "node:fs";
import { gradientOperatorsOfAll } from "../test/autodiff/gradient-operators.ts";
import { opsTable } from "./ops-table.ts";

writeFileSync(new URL("../docs/ops.md", import.meta.url), opsTable(await gradientOperatorsOfAll()));
