// Writes docs/cli.md from the commands themselves. Run: npm run docs:cli
import { writeFileSync } from "node:fs";
import { cliReference } from "./cli-reference.ts";

writeFileSync(new URL("../docs/cli.md", import.meta.url), await cliReference());
