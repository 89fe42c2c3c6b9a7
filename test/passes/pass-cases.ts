import { passes } from "../../src/passes/table.ts";
import { passContext } from "../helpers/pass-context.ts";
import { backendsCases } from "./backends/cases.ts";
import { cleanupCases } from "./cleanup/cases.ts";
import { expansionCases } from "./expansion/cases.ts";
import { layoutCases } from "./layout/cases.ts";
import { opsetCases } from "./opset/cases.ts";
import type { Make, PassCase } from "./pass-case.ts";
import { trainingCases } from "./training/cases.ts";

/** Each pass and what it is shown on: every pass of the table has one. */
const makers: Readonly<Record<keyof typeof passes, Make>> = {
  ...opsetCases,
  ...expansionCases,
  ...cleanupCases,
  ...trainingCases,
  ...layoutCases,
  ...backendsCases,
};

/** The case of a pass. */
export async function passCase(name: keyof typeof passes): Promise<PassCase> {
  const made = await makers[name]();
  const given = "nodes" in made ? { graph: made } : made;
  return { pass: passes[name](), context: passContext(given.graph), ...given };
}
