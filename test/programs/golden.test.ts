import { describe, expect, it } from "vitest";
import { readModel, som } from "../../src/index.ts";
import { printProgram } from "../helpers/print-program.ts";
import { programsOf } from "../helpers/programs-of.ts";

const samples = ["mlp", "cnn", "pointnet"] as const;

/** Printed graphs that were recorded once: a change of how programs are written must not change what is written. */
describe.each(samples)("programs of %s.onnx", (sample) => {
  it("are those that were recorded", async () => {
    const model = await readModel(`models/${sample}.onnx`);
    const programs = await programsOf(model, { penalties: [{ penalty: som() }], batch: 8 });
    for (const [name, program] of Object.entries(programs)) {
      const file = `golden/${sample}.${name.replace(": ", "-").replace(" ", "-")}.txt`;
      await expect(`${printProgram(program)}\n`).toMatchFileSnapshot(file);
    }
  });
});
