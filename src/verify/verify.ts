import { dimensionNames } from "../analysis/option-names.ts";
import type { Probe } from "../analysis/probe.ts";
import { isUnbiased } from "../analysis/unsafe-forms.ts";
import { artifactKind } from "../artifacts/training-model.ts";
import { type Block, blockOf } from "../block/block.ts";
import { messageOf, SorthError, UsageError } from "../errors.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import { reachFunctions } from "../inject/reach-functions.ts";
import { checkKnown, type OptionNames, tagOf } from "../known-options.ts";
import { checkNumber, notNegative, seedNumber } from "../numbers.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";
import { checkPlanNames } from "../penalties/plan-names.ts";
import { whatIs } from "../what-is.ts";
import { verifyArtifact } from "./artifact.ts";
import { samplesForGradient, sharesOf, tooLarge } from "./budget.ts";
import { dataFor } from "./data.ts";
import { withoutDraws } from "./draws.ts";
import type { VerifyOptions } from "./options.ts";
import { checkOutputs } from "./outputs.ts";
import { check, note, type VerifyCheck, type VerifyReport } from "./report.ts";
import { scalarOf, shown, type VerifyRun } from "./run.ts";
import { injectedSites } from "./sites.ts";
import { checkSlope } from "./slopes.ts";
import { checkStructure } from "./structure.ts";
import { checkValues } from "./values.ts";

export type { VerifyOptions } from "./options.ts";
export type { VerifyCheck, VerifyReport } from "./report.ts";

const optionNames = {
  ...dimensionNames,
  ...{ feeds: true, seed: true, budget: true, penalties: "list" },
} as const satisfies OptionNames<VerifyOptions>;

/** Compares an injected model with its original. `Library.verify` documents it. */
export async function verify(
  original: Model,
  injected: Model,
  options: VerifyOptions,
  probe: Probe,
): Promise<VerifyReport> {
  checkKnown("verify", options, optionNames);
  checkModel(original);
  checkNumber("seed", options.seed, seedNumber);
  if (typeof options.budget !== "number") checkNumber("budget", options.budget, notNegative);
  if (options.feeds !== undefined && tagOf(options.feeds) !== "Map") {
    throw new UsageError(
      `feeds are a Map of tensors by input, as sampleFeeds gives, not ${whatIs(options.feeds)}`,
    );
  }
  checkPlanNames(options.penalties ?? []);
  const graph = graphOf(injected);
  const block = blockOf(graph);
  if (!block) {
    throw new SorthError(
      "no penalty was injected into the second model; give the original first, then the injected one",
    );
  }
  const unbiased = graph.nodes.find(isUnbiased);
  if (unbiased) {
    throw new SorthError(
      `Attention "${unbiased.label}" has no bias, without which ONNX Runtime ends the process: such a model cannot be run, and not be verified`,
    );
  }
  if (artifactKind(graph)) return verifyArtifact(original, injected, block, options, probe);
  const own = (await reachFunctions(original, probe)).graph;
  const data = await dataFor(own, block, options, probe);
  const before = withoutDraws(original);
  const after = withoutDraws(injected);
  const inFunctions = block.mark.sites.some(({ inner }) => inner);
  const run: VerifyRun = {
    ...{ model: after.model, graph, feeds: data.feeds },
    ...(inFunctions && { written: modelOf((await reachFunctions(before.model, probe)).graph, before.model) }),
    ...{ probe, seed: options.seed ?? 1 },
  };
  const sites = injectedSites(own, block, options.penalties ?? []);
  const known = typeof sites === "string" ? [] : sites;
  const checks = [
    ...checkStructure(original, injected, graph, block),
    ...(before.change ? [note("draws", `compared with ${before.change}`)] : []),
    ...(await checkOutputs(before.model, own, run, block, known, options.budget)),
  ];
  if (typeof sites === "string") checks.push(note("penalty", sites));
  else {
    const shares = sharesOf(sites, options.budget, data.samples);
    checks.push(
      ...(await checkValues(run, shares, block.mark.penalty, async (layer) => {
        const share = shares.get(layer.injected);
        if (!share?.gradient) return note(`gradient of ${layer.injected.site.name}`, tooLarge(share));
        const of = samplesForGradient(layer.injected, data.samples);
        return checkSlope(run, layer, { of, all: data.samples });
      })),
    );
  }
  if (data.other)
    checks.push(
      await checkOtherBatch(
        before.model,
        { ...run, feeds: data.other.feeds },
        block,
        data.other.batch,
        checks,
      ),
    );
  return { passed: checks.every(({ status }) => status !== "failed"), checks };
}

/** Why a model does not run on a run's feeds; undefined if it does. */
async function failureOf(
  model: Model,
  { probe, feeds }: VerifyRun,
  { objective }: Block["mark"],
): Promise<string | undefined> {
  const known = new Map([...feeds].filter(([name]) => name !== objective?.labels));
  try {
    await probe.run(model, known, { optimize: false });
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Checks that the injected model runs with another batch size, if the original does. */
async function checkOtherBatch(
  original: Model,
  run: VerifyRun,
  { mark }: Block,
  batch: number,
  before: readonly VerifyCheck[],
): Promise<VerifyCheck> {
  const broken = before.some(({ name }) => name === "inputs");
  try {
    const value = scalarOf(await run.probe.run(run.model, run.feeds, { optimize: false }), mark.penalty);
    if (broken && !Number.isFinite(value)) {
      return note("batch stays free", `runs at batch ${batch}, where R is not defined either`);
    }
    return check("batch stays free", Number.isFinite(value), `R = ${shown(value)} at batch ${batch}`);
  } catch (error) {
    const why = await failureOf(original, run, mark);
    if (why !== undefined)
      return note("batch stays free", `not checked: the original does not run at batch ${batch}: ${why}`);
    return check("batch stays free", false, messageOf(error));
  }
}
