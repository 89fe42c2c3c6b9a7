import { DeviceError, messageOf } from "../../src/errors.ts";
import { adamw, crossEntropy, readModel, som, Trainer, type TrainerOptions } from "../../src/index.ts";
import { asDataset, sampleData } from "../../test/helpers/sample-data.ts";
import { markdownTable } from "./markdown.ts";

/** Largest allowed relative difference from the CPU's loss (issue 6). */
const tolerance = 1e-4;
/** The same in float16, whose products a device may round otherwise. */
const halfTolerance = 1e-2;
const steps = 20;

/** What each sample model is trained with. */
const cases = [
  { title: "plain", weight: 0, precision: "float32", limit: tolerance },
  { title: "SOM", weight: 0.1, precision: "float32", limit: tolerance },
  { title: "plain, float16", weight: 0, precision: "mixed:init-scale=1024", limit: halfTolerance },
] as const;

/** Whether a backend trains like the CPU. */
export interface Comparison {
  readonly available: boolean;
  readonly failed: number;
  /** The comparison in Markdown. */
  readonly text: string;
}

async function run(name: "mlp" | "cnn" | "pointnet", options: TrainerOptions) {
  const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), options);
  const losses: number[] = [];
  try {
    const data = asDataset(await sampleData(name, 64));
    for await (const event of trainer.fit(data, { epochs: steps, maxSteps: steps })) {
      if (event.event === "step") losses.push(event.loss);
    }
  } finally {
    await trainer.release();
  }
  return losses;
}

/** Trains every sample model for 20 steps, plain and with SOM, on the CPU and on the backend, and compares the losses. */
export async function compareWithCpu(backend: string): Promise<Comparison> {
  const rows: string[][] = [];
  let failed = 0;
  for (const name of ["mlp", "cnn", "pointnet"] as const) {
    for (const { title, weight, precision, limit } of cases) {
      const options: TrainerOptions = {
        ...{ objective: crossEntropy(), optimizer: adamw(), batch: 16 },
        // At a higher rate, Adam turns rounding errors of PointNet on noise into steps, even between two CPU runs.
        learningRate: name === "pointnet" ? 1e-4 : 1e-3,
        precision,
        penalties: weight === 0 ? [] : [{ penalty: som({ lambda1: 100 }), weight }],
      };
      const row = [name, title];
      const expected = await run(name, options);
      // Runs of one step, and of as many steps as the backend chooses.
      const lengths = backend === "webgpu" ? ([1] as const) : ([1, "auto"] as const);
      for (const stepsPerRun of lengths) {
        try {
          const found = await run(name, { ...options, backend, stepsPerRun });
          const worst = Math.max(...expected.map((loss, i) => Math.abs((found[i] ?? Number.NaN) / loss - 1)));
          const ok = worst < limit;
          if (!ok) failed += 1;
          rows.push([...row, String(stepsPerRun), worst.toExponential(1), ok ? "agrees" : "DIFFERS"]);
        } catch (error) {
          if (rows.length === 0) {
            return { available: false, failed: 0, text: `Not run: ${messageOf(error)}` };
          }
          // A GPU may lack float16; that is no fault.
          const isLacking = precision !== "float32" && error instanceof DeviceError;
          if (!isLacking) failed += 1;
          rows.push([
            ...row,
            String(stepsPerRun),
            "–",
            `${isLacking ? "none" : "FAILED"}: ${messageOf(error)}`,
          ]);
        }
      }
    }
  }
  const headings = [
    "model",
    "loss",
    "steps a run",
    "largest relative difference",
    `limit ${tolerance}, float16 ${halfTolerance}`,
  ];
  const text = `Losses of ${steps} steps against the CPU, every node on the device:\n\n${markdownTable(headings, rows)}`;
  return { available: true, failed, text };
}
