import { type ModelPart, parametersOfPart } from "../analysis/model-part.ts";
import { escaped } from "../analysis/name-patterns.ts";
import { findParameters, type ParameterOptions } from "../analysis/parameters.ts";
import type { ShareOptions } from "../analysis/shared-initializers.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { liftParameters } from "../passes/expansion/expand-model.ts";

/** Options of `trainablePart`. */
export interface TrainablePartOptions extends ShareOptions, Pick<ParameterOptions, "alsoTrain" | "freeze"> {
  /** Also trains the last layer in full, because it is a fresh one (`replaceHead`); the last blocks end with it anyway. */
  readonly withHead?: boolean;
  /** Receives a sentence that names what is trained. */
  readonly onMessage?: (message: string) => void;
}

/** A pattern that matches the parameters of a part. `HeadFunctions.trainablePart` documents it. */
export function trainablePart(
  model: Model,
  part: ModelPart,
  { withHead, onMessage, ...options }: TrainablePartOptions = {},
): RegExp {
  if (part !== "biases") checkNumber("the number of blocks", part.lastBlocks, count);
  const graph = graphOf(model);
  liftParameters(graph, options, model.external);
  const found = findParameters(graph, options);
  const { parameters, what } = parametersOfPart(graph, found.parameters, part, withHead);
  onMessage?.(`trained alone: ${what}`);
  return new RegExp(`^(?:${parameters.map(({ value }) => escaped(value.name)).join("|")})$`);
}
