import type { Probe } from "../analysis/probe.ts";
import { typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import type { Lowering } from "../passes/backends/table.ts";
import { feedState, inferenceForm } from "../programs/evaluation.ts";
import { measureNormalization } from "../programs/measure-normalization.ts";
import type { StepOptions } from "../programs/step.ts";
import type { StepPorts } from "../programs/step-ports.ts";

/** A running statistic, and the output that holds the same statistic of one batch. */
interface MeasuredStatistic {
  /** The input of a step that holds it. */
  readonly state: string;
  readonly output: string;
  /** What the mean over all batches is multiplied with: N/(N−1) for an unbiased variance. */
  readonly factor: number;
}

/** A graph that measures what BatchNormalization normalizes with in a batch. */
interface StatisticsGraph {
  readonly model: Model;
  readonly statistics: readonly MeasuredStatistic[];
}

/**
 * Writes the model in inference form, except that its BatchNormalization normalizes with the joint batch. The running statistics of other weights
 * follow from the means of its outputs over the training data (`batchNormStatistics`).
 */
export async function statisticsGraph(
  model: Model,
  options: StepOptions,
  ports: Pick<StepPorts, "parameters" | "statistics">,
  probe: Probe,
  lower?: Lowering,
): Promise<StatisticsGraph> {
  const program = await inferenceForm(model, options, probe, { masters: true });
  feedState(program, ports);
  const { graph, emit } = program;
  const known = new Set(ports.statistics.map(({ input }) => input));
  const statistics: { state: string; value: Value; factor: number }[] = [];
  for (const node of graph.nodes.filter(({ op }) => op === "BatchNormalization")) {
    const [mean, variance] = node.inputs.slice(3, 5).map((value) => value && sourceOf(value).name);
    if (!mean || !variance || !known.has(mean) || !known.has(variance)) continue;
    const measured = measureNormalization(graph, emit, node, options.runningVariance ?? "onnx");
    if (!measured) continue;
    statistics.push({ state: mean, value: measured.mean, factor: 1 });
    statistics.push({ state: variance, value: measured.variance, factor: measured.factor });
  }
  program.dropOutputs();
  const named = statistics.map(({ state, value, factor }, i) => ({
    ...{ state, factor, output: program.output(typed(value), `statistic.${i}`).name },
  }));
  graph.pruneInputs();
  return {
    model: await program.finish({ passes: lower?.passes ?? [], check: "structure" }),
    statistics: named,
  };
}

/** The value from which Casts and Reshapes made this one. */
function sourceOf(value: Value): Value {
  const { producer } = value;
  const [from] = producer && ["Cast", "Reshape", "Identity"].includes(producer.op) ? producer.inputs : [];
  return from ? sourceOf(from) : value;
}
