import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isBlockName } from "./block-nodes.ts";
import { namesOfValue } from "./known-names.ts";
import { checkMatches, matchesAny } from "./name-patterns.ts";
import { normalizations, type Reading, type Role, readingsOf } from "./roles.ts";

/** Something a model is trained by. */
export interface Parameter {
  readonly value: Value;
  /** What it is to the operator that reads it. */
  readonly role: Role;
  /** Why it counts as a parameter, in words. */
  readonly reason: string;
}

/** A float constant that is not trained. */
export interface ConstantValue {
  readonly value: Value;
  readonly reason: string;
}

/** Options of {@link findParameters}. */
export interface ParameterOptions {
  /** Only what matches is trained; a float constant that matches becomes a parameter whatever its role. */
  readonly trainable?: RegExp;
  /** What matches is trained too, whatever its role. */
  readonly alsoTrain?: RegExp;
  /** What matches is not trained. */
  readonly freeze?: RegExp;
}

/**
 * Which float initializers a model is trained by (DESIGN §5.9): by the role in which operators read them, and operands of
 * plain arithmetic by name and rank, as exporters write them. Running statistics, masks, position grids, single numbers
 * and exporters' own constants are not; in doubt a value is not trained. Names are those of files by PyTorch's two
 * exporters and tf2onnx. Weights in Constant nodes count after {@link liftConstants}.
 *
 * @example
 * findParameters(graph, { freeze: /^backbone\./ }).parameters.map(({ value, reason }) => `${value.name}: ${reason}`);
 */
export function findParameters(
  graph: Graph,
  options: ParameterOptions = {},
): { parameters: Parameter[]; constants: ConstantValue[] } {
  const parameters: Parameter[] = [];
  const constants: ConstantValue[] = [];
  const { trainable, alsoTrain, freeze } = options;
  const floats = graph.initializers.filter(({ type }) => isFloat(type));
  const known = trainable || alsoTrain || freeze ? floats.map(namesOfValue) : [];
  if (trainable) checkMatches("--trainable", trainable, "parameter", known);
  if (alsoTrain) checkMatches("--trainable", alsoTrain, "parameter", known);
  if (freeze) checkMatches("--freeze", freeze, "parameter", known);
  floats.forEach((value, i) => {
    const { role, reason } = judgeParameter(value);
    const names = known[i] ?? [];
    if (freeze && matchesAny(freeze, names)) constants.push({ value, reason: "frozen by --freeze" });
    else if ([trainable, alsoTrain].some((pattern) => pattern && matchesAny(pattern, names))) {
      parameters.push({ value, role: role ?? "operand", reason: "named by --trainable" });
    } else if (!role) constants.push({ value, reason });
    else if (trainable) constants.push({ value, reason: "not named by --trainable" });
    else parameters.push({ value, role, reason });
  });
  return { parameters, constants };
}

/** As what a value is trained, or why it is not. */
export interface Verdict {
  readonly role: Role | undefined;
  readonly reason: string;
}

/** Whether a value is a parameter by what it looks like: the first reading that makes it one decides. */
export function judgeParameter(value: Value): Verdict {
  const verdicts = readingsOf(value).map((reading) => verdictOn(value, reading));
  const nobody: Verdict = { role: undefined, reason: "nothing reads its numbers" };
  return verdicts.find(({ role }) => role) ?? verdicts[0] ?? nobody;
}

function verdictOn(value: Value, { node, index, role }: Reading): Verdict {
  const where = `${node.op} "${node.label}"`;
  const constant = (reason: string): Verdict => ({ role: undefined, reason });
  if (index < 0) return constant(`read inside a body of ${where}`);
  if (role === "other") return constant(`input ${index} of ${where}`);
  if (role === "running mean" || role === "running variance") return constant(`${role} of ${where}`);
  const doubt = reasonToDoubt(value, role, normalizations.has(node.op));
  if (doubt) return constant(`${role} of ${where}, but ${doubt}`);
  return {
    role,
    reason: role === "operand" ? `operand of ${where}, named like a parameter` : `${role} of ${where}`,
  };
}

/** Last part of a name: `bias` of `model/dense/bias/Read/ReadVariableOp:0`, `pos_embed` of `encoder.pos_embed`. */
function lastPart(name: string): string {
  const trimmed = name.replace(/:\d+$/, "").replace(/(\/Read)?\/ReadVariableOp(\/resource)?$/, "");
  return trimmed.split(/[./]/).at(-1) ?? name;
}

/** How exporters name constants of their own: `val_3`, `/layer/Constant_2_output_0`, `onnx::Mul_12`, `const_fold_opt__7`. */
const exporterConstant =
  /^(val_\d+|onnx::\w+_\d+|_?tensor_constant\d*|const_fold_opt_+\d+|.*lifted_tensor\w*|(.*\/)?Constant(_\d+)?(_output_\d+)?|\w*_(cast|default)(_\d+)?)$/i;

/** Values that are computed once and never trained, by the last part of their name. */
const bufferName =
  /^(\w*mask|(running|moving)_(mean|var|variance)|grid|\w*_grid|anchors?|strides?|coords?|\w*_table_coords|position_ids|(inv_)?freqs?\w*|\w*(cos|sin)(_cached?)?|(pixel_|image_)?(mean|std)|window|basis|dft\w*|pe|causal|tril|triu)$/i;

/** Trained operands of plain arithmetic, by the last part of their name. */
const parameterName =
  /^(weight\w*|bias\w*|gamma\w*|beta\w*|alpha|kernel|scale|(\w+_)?layer_?scale\w*|ls_?\d*|logit_scale|lambda_?\d*|\w*embed(ding)?s?(_table)?|\w*_token|temperature|relative_position_bias_table)$/i;

/** Why a value that an operator reads like a parameter is none. */
function reasonToDoubt(value: Value, role: Role, normalization: boolean): string | undefined {
  const { name } = value;
  const dims = value.initializer?.dims ?? [];
  const last = lastPart(name);
  if (isBlockName(name) && [...value.uses].every(({ node }) => isBlockName(node.name)))
    return "it is a constant of a gradient graph";
  if (bufferName.test(last)) return "its name is that of a mask, grid or statistic";
  // A literal in the source; folded weights bear other names.
  if (/(^|\/)Constant(_\d+)?(_output_\d+)?$/.test(name)) return "it is an exporter's constant";
  if (role === "embedding" && dims.length < 2) return "it is a list of numbers";
  if (normalization && exporterConstant.test(name)) return "it is an exporter's constant";
  if (role !== "operand") return undefined;
  // A layer with one unit has a bias of one number.
  const layerOfOne = dims.length === 1 && /[./]bias$/.test(name);
  if (elementCount(dims) === 1 && !layerOfOne) return "it is a single number";
  if (exporterConstant.test(name)) return "it is an exporter's constant";
  if (!parameterName.test(last)) return "its name is no parameter's";
  // Masks hold −inf or a number so low that softmax makes it zero.
  const masked = value.initializer?.numbers().some((number) => !(Math.abs(number) < 1e4));
  return masked ? "it holds −inf or numbers as large: a mask" : undefined;
}
