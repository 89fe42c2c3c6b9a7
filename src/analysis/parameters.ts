import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isStepConstant } from "./block-nodes.ts";
import { foldedFrom, isAnonymous, isLiteral, lastPart, notedKind } from "./exporter-names.ts";
import { namesOfValue, sourceNameOf } from "./known-names.ts";
import { checkMatches, matchesAny } from "./name-patterns.ts";
import { isFilled, signOfConstant } from "./number-signs.ts";
import { type Reading, Readings } from "./readings.ts";
import { normalizations, plain, type Role } from "./roles.ts";

/** Something a model is trained by. */
export interface Parameter {
  readonly value: Value;
  /** What it is to the operator that reads it. */
  readonly role: Role;
  /** Why it counts as a parameter, in words. */
  readonly reason: string;
  /** Whether its place alone says so: the file tells nothing else of it. */
  readonly doubt: boolean;
  /** What the source calls it, where the file has another name for it. */
  readonly source: string | undefined;
}

/** A float constant that is not trained. */
export interface ConstantValue {
  readonly value: Value;
  readonly reason: string;
  /** Whether it may be a parameter all the same: the file does not tell. */
  readonly doubt: boolean;
  readonly source: string | undefined;
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
 * Which float initializers a model is trained by: those that PyTorch, Keras and scikit-learn train
 * (test/analysis/framework-parameters.test.ts). What the exporter noted decides first, then the place among the operators:
 * the weight or bias of a layer, the scale or shift of a normalization, a part that a weight is computed from. Operands of
 * other arithmetic are parameters where they have a name of the source and numbers that training could leave; running
 * statistics, masks, grids, literals and exporters' own constants are not. What cannot be told is marked (`doubt`).
 * Weights in Constant nodes count after `liftConstants`.
 *
 * @throws UsageError where a pattern matches nothing
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
  const readings = new Readings(graph);
  const known = trainable || alsoTrain || freeze ? floats.map((value) => namesOfValue(value, readings)) : [];
  if (trainable) checkMatches("--trainable", trainable, "parameter", known);
  if (alsoTrain) checkMatches("--trainable", alsoTrain, "parameter", known);
  if (freeze) checkMatches("--freeze", freeze, "parameter", known);
  floats.forEach((value, i) => {
    const { role, reason, doubt } = judgeParameter(value, readings);
    const names = known[i] ?? [];
    const source = sourceNameOf(value, readings);
    const constant = (why: string, unsure = false) =>
      constants.push({ value, reason: why, doubt: unsure, source });
    if (freeze && matchesAny(freeze, names)) constant("frozen by --freeze");
    else if ([trainable, alsoTrain].some((pattern) => pattern && matchesAny(pattern, names))) {
      parameters.push({
        value,
        role: role ?? "operand",
        reason: "named by --trainable",
        doubt: false,
        source,
      });
    } else if (!role) constant(reason, doubt && !trainable);
    else if (trainable) constant("not named by --trainable");
    else parameters.push({ value, role, reason, doubt, source });
  });
  return { parameters, constants };
}

/** As what a value is trained, or why it is not. */
export interface Verdict {
  readonly role: Role | undefined;
  readonly reason: string;
  /** Whether the file leaves it open. */
  readonly doubt: boolean;
}

/** Whether a value is a parameter by what it looks like: the first reading that makes it one decides. */
export function judgeParameter(value: Value, readings: Readings): Verdict {
  const found = readings.of(value);
  const [first] = found;
  if (!first) return { role: undefined, reason: "nothing reads its numbers", doubt: false };
  const noted = notedKind(value);
  if (noted === "buffer") return { role: undefined, reason: "a buffer, as the exporter notes", doubt: false };
  const origin = foldedFrom(value).find((name) => name !== value.name && readings.has(name));
  // What a layer takes as its weight is one, whatever else the exporter computed it from.
  if (origin !== undefined && found.every(({ node }) => plain.has(node.op))) {
    const reason = `the exporter computed it from "${origin}", which is in the file too (export with optimize=False to train it)`;
    return { role: undefined, reason, doubt: true };
  }
  const verdicts = found.map((reading) => verdictOn(value, reading));
  const verdict = verdicts.find(({ role }) => role) ?? verdicts[0];
  if (noted === "parameter" && !verdict?.role) {
    const statistic = found.every(({ role }) => role.startsWith("running"));
    if (!statistic) return { role: "operand", reason: "a parameter, as the exporter notes", doubt: false };
  }
  return verdict && noted ? { ...verdict, doubt: false } : (verdict as Verdict);
}

function verdictOn(value: Value, reading: Reading): Verdict {
  const { node, index, role } = reading;
  const where = `${node.op} "${node.label}"`;
  const constant = (reason: string, doubt = false): Verdict => ({ role: undefined, reason, doubt });
  if (isStepConstant(value.name)) return constant("a constant of a gradient graph");
  if (index < 0) return constant(`read inside a body of ${where}`);
  if (role === "running vector")
    return constant(`${where} estimates a norm with it: a buffer of spectral_norm`);
  if (role.startsWith("running")) return constant(`${role} of ${where}`);
  if (role === "other") return constant(`input ${index} of ${where}`);
  const parameter = (how = "", doubt = false): Verdict => ({
    ...{ role, doubt },
    reason: `${reading.computed ? "part of what is " : ""}${role} of ${where}${how && `, ${how}`}`,
  });
  const refused = refusal(value, reading);
  if (refused) return constant(`${role} of ${where}, but ${refused.reason}`, refused.doubt);
  const free = role === "operand" || role === "initial state";
  return free ? operandVerdict(value, reading, parameter, constant, where) : parameter();
}

/** An operand whose place does not tell whether it is trained. */
function operandVerdict(
  value: Value,
  { node, role }: Reading,
  parameter: (how: string, doubt?: boolean) => Verdict,
  constant: (reason: string, doubt?: boolean) => Verdict,
  where: string,
): Verdict {
  const { initializer } = value;
  const no = (reason: string, doubt = false) => constant(`${role} of ${where}, but ${reason}`, doubt);
  if (!initializer) return no("its numbers are not in the file");
  const known = [value.name, ...foldedFrom(value)].some((name) => parameterName.test(lastPart(name)));
  const yes = () => (known ? parameter("named like a parameter") : parameter("by its place alone", true));
  const anonymous = isAnonymous(value) && foldedFrom(value).length === 0;
  const single = elementCount(initializer.dims) === 1;
  if (single && anonymous) return no("it is a single number");
  const sign = signOfConstant(initializer);
  if (sign) return no(sign);
  // Modules of PyTorch hold single numbers as parameters or buffers; elsewhere most of them are literals.
  if (single) return isOfModule(value, node) ? yes() : no("it is a single number", known);
  if (!anonymous)
    return known || !value.fromNode ? yes() : no("it is a number of the source without a name", true);
  if (role === "initial state") return isFilled(initializer) ? no("it is filled with one number") : yes();
  // Keras calls them after their layer, which tf2onnx keeps in the path.
  const normalizing = /(layer|batch|group|rms|instance)_norm/i.test(value.name);
  if (!normalizing && readsInput(node, value)) return no("it scales or shifts an input of the model", true);
  return isFilled(initializer) ? no("it is filled with one number and has no name", true) : yes();
}

/** Values that are computed once and never trained, by the last part of their name. */
const bufferName =
  /^(\w*mask|(running|moving)_(mean|var|variance)|\w*grids?|\w*anchors?|strides?|\w*coords?(_\w+)?|position_ids|(inv_)?freqs?\w*|\w*(cos|sin)(_cached?)?|(pixel_|image_)?(mean|std)|window|\w*basis|dft\w*|mel_\w+|\w*filterbank|pe|causal|tril|triu|eps(ilon)?)$/i;

/** Trained operands of arithmetic, by the last part of their name. */
const parameterName =
  /^(weight\w*|bias\w*|gamma\w*|beta\w*|alpha|gain|kernel|scale|(\w+_)?layer_?scale\w*|ls_?\d*|logit_scale|lambda_?\d*|\w*embed(ding)?s?(_table)?|\w*_token|cls|temperature|relative_position_bias_table|original[01]|ReadVariableOp)$/i;

/** Why a value that an operator reads like a parameter is none. */
function refusal(
  value: Value,
  { node, role, computed }: Reading,
): { reason: string; doubt: boolean } | undefined {
  const dims = value.initializer?.dims ?? [];
  const sure = (reason: string) => ({ reason, doubt: false });
  const names = [value.name, ...foldedFrom(value)].filter(
    (_, i, all) => all.length === 1 || i > 0 || !isAnonymous(value),
  );
  if (notedKind(value) === undefined && names.some((name) => bufferName.test(lastPart(name)))) {
    return sure("its name is that of a mask, grid or statistic");
  }
  // A literal in the source; folded weights bear other names.
  if (isLiteral(value)) return sure("it is an exporter's constant");
  // Expanded to the form of a matrix it is a state at the beginning, or a filling.
  if (dims.length === 0 && role === "weight" && !computed) return sure("it is a single number");
  if (role === "embedding") {
    if (dims.length < 2 || elementCount(dims) < 2)
      return { reason: "it is a list of numbers", doubt: dims[0] !== 1 };
    const sign = value.initializer && signOfConstant(value.initializer);
    return sign === undefined ? undefined : sure(sign);
  }
  if (role === "weight" && dims.length === 0) return sure("it is a single number, spread to a matrix");
  const anonymous = isAnonymous(value) && foldedFrom(value).length === 0;
  if (!anonymous || !value.initializer) return undefined;
  if (dims.length === 0 && role !== "operand") return sure("it is an exporter's constant");
  if (normalizations.has(node.op) && isFilled(value.initializer)) return sure("it is an exporter's constant");
  if (computed && isFilled(value.initializer)) return sure("it is an exporter's constant");
  return undefined;
}

/** Whether PyTorch's exporters took a single number from a module: they name their own otherwise. */
const isOfModule = (value: Value, node: Reading["node"]): boolean =>
  /[./]bias$/.test(value.name) ||
  foldedFrom(value).length > 0 ||
  node.name.startsWith("/") ||
  (node.name.startsWith("node_") && value.name.includes("."));

/** Whether the other operand is an input of the graph, but for arithmetic with constants. */
function readsInput(node: Reading["node"], value: Value): boolean {
  let other = node.inputs.find((input) => input && input !== value && !input.initializer);
  for (let steps = 0; other?.producer && steps < 8; steps++) {
    const { op, inputs } = other.producer;
    const computing = inputs.filter((input) => input && !input.initializer);
    const simple = /^(Add|Sub|Mul|Div|Cast|Transpose|Reshape|Identity|Unsqueeze)$/.test(op);
    if (!simple || computing.length !== 1) return false;
    other = computing[0] ?? undefined;
  }
  return other !== undefined && other !== null && !other.producer && !other.initializer;
}
