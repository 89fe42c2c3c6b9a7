import { describe, expect, test } from "vitest";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { som } from "../../src/penalties/som.ts";
import { buildStep, type StepOptions } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { optimizerOf, type TorchOptimizer } from "./optimizer-of.ts";
import { fixture, gradientScale, modelFixture, type Summary, summaryError } from "./references.ts";
import { gradientItself, StepRunner } from "./step-runner.ts";

interface Run {
  readonly network: "mlp" | "cnn";
  readonly penalty: "none" | "som";
  readonly optimizer: string;
  readonly float64: { readonly losses: readonly number[]; readonly penalties: readonly number[] };
  readonly float32: { readonly losses: readonly number[]; readonly penalties: readonly number[] };
  readonly gradients: Readonly<Record<string, Summary>>;
  readonly parameters: Readonly<Record<string, Summary>>;
  readonly statistics: Readonly<
    Record<string, Record<"mean" | "varianceOnnx" | "varianceTorch", readonly number[]>>
  >;
}

const fixtures = fixture<{
  steps: number;
  batch: number;
  classes: number;
  inputs: Readonly<Record<string, readonly number[]>>;
  optimizers: Readonly<Record<string, TorchOptimizer>>;
  runs: readonly Run[];
}>("training/training.json");

async function runnerOf(
  run: Pick<Run, "network" | "penalty">,
  options: Partial<StepOptions> & Pick<StepOptions, "optimizer">,
  file = run.network as string,
): Promise<StepRunner> {
  const penalties =
    run.penalty === "som" ? { penalties: [{ penalty: som({ lambda1: 100 }), weight: 1 }] } : {};
  const model = modelFixture(`training/${file}.onnx`);
  return StepRunner.create(
    await buildStep(model, { objective: crossEntropy(), ...penalties, ...options }, nodeProbe),
  );
}

/** Trains on the batches of the fixture; losses and penalties of every step. */
async function train(runner: StepRunner, network: Run["network"], steps: number, learningRate: number) {
  const size = (fixtures.inputs[network] ?? []).reduce((product, dim) => product * dim, fixtures.batch);
  const results = [];
  for (let step = 0; step < steps; step++) {
    const x = uniform(`train.${network}.x.${step}`, size);
    const y = labels(`train.${network}.labels.${step}`, fixtures.batch, fixtures.classes);
    results.push(await runner.run(x, y, { learningRate, penaltyWeight: 1 }));
  }
  return {
    losses: results.map(({ loss }) => loss),
    penalties: results.map(({ penalty }) => penalty),
  };
}

describe.each(fixtures.runs)("$network, penalty $penalty, $optimizer", (run) => {
  const options = fixtures.optimizers[run.optimizer] as TorchOptimizer;

  test("losses of five steps are PyTorch's", async () => {
    const runner = await runnerOf(run, { optimizer: optimizerOf(options) });
    const { losses, penalties } = await train(runner, run.network, fixtures.steps, options.lr);
    await runner.release();
    expect(maxDifference(losses, run.float64.losses)).toBeLessThan(1e-5);
    expect(maxDifference(losses, run.float32.losses)).toBeLessThan(1e-5);
    if (run.penalty === "som") {
      expect(maxDifference(penalties, run.float64.penalties)).toBeLessThan(1e-5);
    }
  });
});

describe.each(fixtures.runs.filter(({ optimizer }) => optimizer === "sgd"))(
  "$network, penalty $penalty",
  (run) => {
    test("gradients of the first step are PyTorch's in float64", async () => {
      const runner = await runnerOf(run, { optimizer: gradientItself });
      await train(runner, run.network, 1, 0);
      const errors = Object.entries(run.gradients).map(([name, expected]) => ({
        name,
        error: summaryError(name, runner.state(name), expected, gradientScale(expected, run.gradients)),
      }));
      await runner.release();
      expect(errors.filter(({ error }) => !(error < 1e-4))).toEqual([]);
      expect(errors.map(({ name }) => name).sort()).toEqual(
        runner.step.ports.parameters.map(({ name }) => name).sort(),
      );
    });
  },
);

describe.each(fixtures.runs.filter((run) => run.network === "cnn" && run.optimizer === "sgd"))(
  "running statistics of $network, penalty $penalty",
  (run) => {
    test.each([
      ["onnx", "varianceOnnx"],
      ["torch", "varianceTorch"],
    ] as const)("after five steps, variance as %s has it", async (runningVariance, key) => {
      const options = fixtures.optimizers[run.optimizer] as TorchOptimizer;
      const runner = await runnerOf(run, { optimizer: optimizerOf(options), runningVariance });
      await train(runner, run.network, fixtures.steps, options.lr);
      for (const [name, expected] of Object.entries(run.statistics)) {
        expect(maxDifference(runner.state(`${name}.running_mean`), expected.mean)).toBeLessThan(1e-6);
        expect(maxDifference(runner.state(`${name}.running_var`), expected[key])).toBeLessThan(1e-6);
      }
      // The two kinds are told apart: N/(N−1) of the variance, N = 8·64 rows.
      const other = key === "varianceOnnx" ? "varianceTorch" : "varianceOnnx";
      const [first] = Object.entries(run.statistics);
      if (!first) throw new RangeError("the fixture has no statistics");
      expect(maxDifference(runner.state(`${first[0]}.running_var`), first[1][other])).toBeGreaterThan(1e-5);
      await runner.release();
    });
  },
);

describe.each(fixtures.runs.filter(({ network }) => network === "mlp"))(
  "float64 mlp, penalty $penalty, $optimizer",
  (run) => {
    test("losses and parameters after five steps", async () => {
      const options = fixtures.optimizers[run.optimizer] as TorchOptimizer;
      const runner = await runnerOf(run, { optimizer: optimizerOf(options) }, "mlp-float64");
      const { losses, penalties } = await train(runner, run.network, fixtures.steps, options.lr);
      expect(maxDifference(losses, run.float64.losses)).toBeLessThan(1e-10);
      if (run.penalty === "som") {
        expect(maxDifference(penalties, run.float64.penalties)).toBeLessThan(1e-10);
      }
      for (const [name, expected] of Object.entries(run.parameters)) {
        expect(summaryError(name, runner.state(name), expected)).toBeLessThan(1e-10);
      }
      await runner.release();
    });
  },
);
