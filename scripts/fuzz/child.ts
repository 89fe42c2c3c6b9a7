/** Runs cases one after another, each when its number arrives from the parent, and answers how it ended. */
import { join } from "node:path";
import { makeCase, runCase } from "./run-case.ts";

const [seed = "0", seeds = "", work = "", only] = process.argv.slice(2);

process.on("message", async (number: number) => {
  const made = await makeCase(Number(seed), number, seeds, only);
  const bytes = [...made.files.values()].reduce((sum, file) => sum + file.length, 0);
  const where = { number, family: made.family.name, entry: made.entry, bytes };
  process.send?.({ ...where, state: "begun" });
  const outcome = await runCase(made, join(work, `${process.pid}-${number}`));
  process.send?.({ ...where, state: "ended", ...outcome });
});
process.on("disconnect", () => process.exit(0));
process.send?.({ state: "ready" });
