import { describe, expect, test } from "vitest";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { chain } from "../../src/optimizers/chain.ts";
import { type LossScaleOptions, scaleLoss } from "../../src/optimizers/loss-scale.ts";
import { packSmall } from "../../src/optimizers/pack.ts";
import { sgd } from "../../src/optimizers/sgd.ts";
import { clipByGlobalNorm } from "../../src/optimizers/transformations/clip-by-global-norm.ts";
import { som } from "../../src/penalties/som.ts";
import type { Precision } from "../../src/programs/options.ts";
import { buildStep } from "../../src/programs/step.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { referenceSteps, runSteps } from "../optimizers/update-runner.ts";
import { fixture, modelFixture } from "./references.ts";
import { StepRunner } from "./step-runner.ts";

interface Trained {
  readonly losses: readonly number[];
  readonly scales?: readonly number[];
}

const { scaler, training } = fixture<{
  scaler: {
    options: LossScaleOptions;
    steps: number;
    learningRate: number;
    shapes: Readonly<Record<string, readonly number[]>>;
    overflows: Readonly<Record<string, "inf" | "-inf" | "nan">>;
    runs: readonly {
      clip: number | null;
      scales: readonly number[];
      parameters: readonly (readonly number[])[];
    }[];
  };
  training: {
    steps: number;
    batches: number;
    batch: number;
    classes: number;
    runs: readonly {
      network: "mlp" | "cnn";
      penalty: "none" | "som";
      learningRate: number;
      precisions: Readonly<Record<"float32" | "mixed" | "mixed-bfloat16", Trained>>;
    }[];
  };
}>("mixed-precision.json");

describe.each(scaler.runs)(
  "the loss scale over overflows, gradients cut to $clip",
  ({ clip, ...expected }) => {
    const parameters = Object.entries(scaler.shapes).map(([name, shape]) => ({
      ...{ name, shape, type: "float" as const },
      start: Array.from(uniform(`mixed.${name}`, elementCount(shape))),
    }));
    const numbers = { inf: Number.POSITIVE_INFINITY, "-inf": Number.NEGATIVE_INFINITY, nan: Number.NaN };
    // The gradients of the scaled loss, as a backward pass would give them.
    const steps = expected.scales.map((scale, i) => ({
      learningRate: scaler.learningRate,
      gradients: parameters.map(({ name, shape }) => {
        const gradient = uniform(`mixed.${name}.${i + 1}`, elementCount(shape)).map((value) => value * scale);
        const overflow = scaler.overflows[i + 1];
        if (name === "b" && overflow) gradient[6] = numbers[overflow];
        return Array.from(gradient);
      }),
    }));
    const inner = clip === null ? adamw() : chain(clipByGlobalNorm(clip), adamw());
    const optimizer = scaleLoss(scaler.options, inner);

    test.each([
      ["the graph", () => runSteps(optimizer, parameters, steps)],
      ["the graph with packed parameters", () => runSteps(packSmall(optimizer, 4096), parameters, steps)],
      ["the reference", () => Promise.resolve(referenceSteps(optimizer, parameters, steps))],
    ])("%s has GradScaler's scales, and AdamW's weights without the updates left out", async (_, run) => {
      const found = await run();
      const after = found.map(({ slots }) => slots.loss_scale?.[0]);
      expect(after.slice(0, -1)).toEqual(expected.scales.slice(1));
      expect(found.at(-1)?.slots.skipped_steps).toEqual([Object.keys(scaler.overflows).length]);
      for (const [i, values] of expected.parameters.entries()) {
        expect(maxDifference(found.at(-1)?.parameters[i] ?? [], values)).toBeLessThan(1e-6);
      }
    });
  },
);

async function trained(
  { network, penalty, learningRate }: (typeof training.runs)[number],
  precision: Precision,
): Promise<{ losses: number[]; scales: number[] }> {
  const { steps, batches, batch, classes } = training;
  const penalties = penalty === "som" ? { penalties: [{ penalty: som({ lambda1: 100 }), weight: 1 }] } : {};
  const step = await buildStep(
    modelFixture(`training/${network}.onnx`),
    {
      ...{ objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }), ...penalties, precision },
      lower: await cpuBackend.lowering(),
    },
    nodeProbe,
  );
  const runner = await StepRunner.create(step);
  const size = elementCount(step.ports.inputs[0]?.shape ?? []);
  const results = [];
  for (let i = 0; i < steps; i++) {
    const x = uniform(`train.${network}.x.${i % batches}`, size);
    const y = labels(`train.${network}.labels.${i % batches}`, batch, classes);
    results.push(await runner.run(x, y, { learningRate, penaltyWeight: 1 }));
  }
  await runner.release();
  return {
    losses: results.map(({ loss }) => loss),
    scales: results.flatMap(({ scaling }) => (scaling ? [scaling.lossScale] : [])),
  };
}

// Every network, penalty and type in turn; the others would show nothing more.
describe.each([
  ["mlp", "none", "mixed-bfloat16"],
  ["mlp", "som", "mixed"],
  ["cnn", "none", "mixed"],
  ["cnn", "som", "mixed-bfloat16"],
] as const)("%s, penalty %s, 50 steps", (network, penalty, precision) => {
  test(`${precision} trains as PyTorch's autocast, within its rounding`, async () => {
    const run = training.runs.find((one) => one.network === network && one.penalty === penalty);
    if (!run) throw new RangeError("the fixture lacks the run");
    const { losses, scales } = await trained(run, precision);
    const { float32, "mixed-bfloat16": bfloat16, [precision]: expected } = run.precisions;
    // How far bfloat16 takes PyTorch's losses from those in float32; float16 has three more bits.
    const rounding = maxDifference(bfloat16.losses, float32.losses);
    expect(maxDifference(losses, expected.losses)).toBeLessThan(
      precision === "mixed" ? rounding : 2 * rounding,
    );
    // Updates are left out at the same steps.
    expect(scales).toEqual(expected.scales ?? []);
  });
});
