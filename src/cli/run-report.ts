import { dirname, join } from "node:path";
import {
  adamw,
  type HyperParameters,
  parseRunRecord,
  type RunRecord,
  runReportPage,
  type Trainer,
} from "../index.ts";
import { textIn } from "../onnx/read-file.ts";
import { writeFileSafely } from "../onnx/write-file.ts";
import { optimizerText } from "../optimizers/text.ts";
import { type PenaltyPlan, planOf, resolvePlans } from "../penalties/plan.ts";
import { penaltyText, planText } from "../penalties/text.ts";
import { runFolderOf } from "./output.ts";

/** The file in a checkpoint folder that holds a run's events. */
const recordName = "run.jsonl";

/** Writes `report.html` into a run's folder, from the events in its `run.jsonl`. */
export async function writeRunReport(folder: string, facts: readonly string[]): Promise<void> {
  const record = parseRunRecord(await textIn(join(folder, recordName)));
  const page = await runReportPage(record, { title: `Training run ${folder}`, facts });
  await writeFileSafely(join(folder, "report.html"), page, { force: true });
}

/** The penalties of a run with all options, from the run's options or from the model itself. */
export function penaltyNote({ options, step }: Trainer, ofModel: readonly PenaltyPlan[]): string | undefined {
  const plans = options.penalties?.length ? options.penalties : ofModel;
  if (plans.length === 0 || step.ports.penalty === undefined) return undefined;
  const share = options.penaltyShare === undefined ? "" : `, a share of ${options.penaltyShare} of the loss`;
  return `penalty ${plans.map((plan) => planText(planOf(plan))).join(" and ")}${share} on ${step.penalized.join(", ")}${appliedText(options)}`;
}

/** How penalties reach the weights, if not in the loss. */
const appliedText = ({ applyPenalties: how = "loss" }: Trainer["options"]): string =>
  how === "loss" ? "" : how === "retraction" ? ", as a retraction" : ", decoupled from the optimizer";

/** The average of the weights that is validated and written; undefined if the run keeps none. */
export function averageText({ options: { ema, swa }, step }: Trainer): string | undefined {
  if (step.ports.average === undefined) return undefined;
  const { start, every = 1 } = typeof swa === "object" ? swa : { start: swa };
  if (swa !== undefined) {
    return `the mean of the weights from step ${start} on, every ${every === 1 ? "step" : `${every} steps`}`;
  }
  return `the moving average of the weights${ema === undefined ? "" : `, decay ${ema}`}`;
}

/** The facts at the top of a run's report: model, data, optimizer, penalties. */
export function runFacts(trainer: Trainer, model: string, data: string): string[] {
  const { options, step, backend } = trainer;
  const { plans, weight: first } = resolvePlans(options.penalties ?? []);
  const { penaltyWeight: all = first } = options;
  const penalties = plans.map((plan) => {
    const { include, exclude, schedule } = plan;
    const weight = all === first ? plan.weight : Number((all * plan.factor).toPrecision(3));
    const said = [
      ...[`weight ${weight}`, include && `layers ${include.source}`, exclude && `not ${exclude.source}`],
      schedule && (typeof schedule === "string" ? schedule : "a schedule of its own"),
    ];
    return `${penaltyText(plan.penalty)} (${said.filter(Boolean).join(", ")})`;
  });
  const batch = step.ports.inputs[0]?.shape[0];
  const optimizer = optimizerText(options.optimizer ?? adamw());
  const average = averageText(trainer);
  return [
    `${model} on ${data}, batches of ${batch}, ${optimizer}, learning rate ${options.learningRate ?? 1e-3}, seed ${options.seed ?? 0}, on ${backend}.`,
    penalties.length > 0
      ? `Penalty: ${penalties.join("; ")}${appliedText(options)}.`
      : step.ports.penalty === undefined
        ? "No penalty."
        : `Penalty: that of the model, weight ${options.penaltyWeight ?? step.penaltyWeight}.`,
    ...(average === undefined ? [] : [`Validated and written: ${average}.`]),
  ];
}

/** The options of a run that TensorBoard shows beside its curves. */
export function hyperParametersOf({ options, step, backend }: Trainer): HyperParameters {
  const plans = options.penalties ?? [];
  return {
    optimizer: optimizerText(options.optimizer ?? adamw()),
    learning_rate: options.learningRate ?? 1e-3,
    schedule: typeof options.schedule === "function" ? "its own" : (options.schedule ?? "constant"),
    batch: step.ports.inputs[0]?.shape[0] ?? 0,
    seed: options.seed ?? 0,
    penalty: plans.map((plan) => planText(planOf(plan))).join(" and ") || "none",
    backend,
  };
}

/** The record of the run that trained a model, if `run.jsonl` is in the run's default folder or in the model's folder. */
export async function recordBeside(model: string): Promise<RunRecord | undefined> {
  for (const folder of [runFolderOf(model), dirname(model)]) {
    const text = await textIn(join(folder, recordName)).catch(() => undefined);
    if (text !== undefined) return parseRunRecord(text);
  }
  return undefined;
}
