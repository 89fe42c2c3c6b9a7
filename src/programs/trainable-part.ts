import { type ModelPart, parametersOfPart } from "../analysis/model-part.ts";
import { escaped } from "../analysis/name-patterns.ts";
import { shareNames } from "../analysis/option-names.ts";
import { findParameters, type ParameterOptions } from "../analysis/parameters.ts";
import type { ShareOptions } from "../analysis/shared-initializers.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { liftParameters } from "../passes/expansion/expand-model.ts";
import { isObject, whatIs } from "../what-is.ts";

/** Options of `trainablePart`. */
export interface TrainablePartOptions extends ShareOptions, Pick<ParameterOptions, "alsoTrain" | "freeze"> {
  /** Also trains the last layer in full, because it is a fresh one (`replaceHead`); the last blocks end with it anyway. */
  readonly withHead?: boolean;
  /** Receives a sentence that names what is trained. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  ...{ ...shareNames, alsoTrain: "pattern", freeze: "pattern", withHead: "flag", onMessage: "function" },
} as const satisfies OptionNames<TrainablePartOptions>;

/** A pattern that matches the parameters of a part. `HeadFunctions.trainablePart` documents it. */
export function trainablePart(model: Model, part: ModelPart, given: TrainablePartOptions = {}): RegExp {
  checkKnown("trainablePart", given, optionNames);
  const { withHead, onMessage, ...options } = given;
  if (part !== "biases" && !(isObject(part) && "lastBlocks" in part)) {
    throw new UsageError(`a part of a model is "biases" or { lastBlocks: 2 }, not ${whatIs(part)}`);
  }
  if (part !== "biases") checkNumber("the number of blocks", part.lastBlocks, count);
  const graph = graphOf(model);
  liftParameters(graph, options, model.external);
  const found = findParameters(graph, options);
  const { parameters, what } = parametersOfPart(graph, found.parameters, part, withHead);
  onMessage?.(`trained alone: ${what}`);
  return new RegExp(`^(?:${parameters.map(({ value }) => escaped(value.name)).join("|")})$`);
}
