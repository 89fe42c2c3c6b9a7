import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { adapterParameters } from "./adapter-names.ts";
import { isStepConstant } from "./block-nodes.ts";
import { foldedFrom, isAnonymous, isLiteral, lastPart, notedKind } from "./exporter-names.ts";
import { frozenNormalization } from "./frozen-normalization.ts";
import { namesOfValue, sourceNameOf } from "./known-names.ts";
import { checkMatches, matchesAny } from "./name-patterns.ts";
import { isFilled, signOfConstant, signOfSeries } from "./number-signs.ts";
import { scales } from "./quantized.ts";
import { type Reading, Readings } from "./readings.ts";
import { normalizations, plain, type Role } from "./roles.ts";

/** An initializer that is trained. */
export interface Parameter {
  readonly value: Value;
  /** Its role for the operator that reads it. */
  readonly role: Role;
  /** Why it counts as a parameter, in words. */
  readonly reason: string;
  /** Whether only its place in the graph suggests so; nothing else in the file does. */
  readonly doubt: boolean;
  /** Its name in the source, if the file has another name for it. */
  readonly source: string | undefined;
}

/** A float constant that is not trained. */
export interface ConstantValue {
  readonly value: Value;
  readonly reason: string;
  /** Whether it may be a parameter nevertheless; the file leaves that open. */
  readonly doubt: boolean;
  readonly source: string | undefined;
}

/** Options of {@link findParameters}. */
export interface ParameterOptions {
  /** Train exactly the matches; a matching float constant becomes a parameter whatever its role. */
  readonly trainable?: RegExp;
  /** Train the matches in addition, whatever their role. */
  readonly alsoTrain?: RegExp;
  /** Do not train the matches. */
  readonly freeze?: RegExp;
}

/**
 * Finds the float initializers to train: those that PyTorch, Keras and scikit-learn would train
 * (test/analysis/framework-parameters.test.ts). The exporter's notes decide first, then the place in the graph: the weight or
 * bias of a layer, the scale or shift of a normalization, a part from which a weight is computed. Operands of other
 * arithmetic are parameters if they have a name from the source and numbers that training could produce. Running statistics,
 * masks, grids, literals and exporters' own constants are not. Unclear cases are marked (`doubt`).
 * Weights in Constant nodes count after `liftConstants`.
 *
 * @throws UsageError if a pattern matches nothing
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
  const floats = graph.initializers.filter(({ type, initializer }) => isFloat(type) && !isEmpty(initializer));
  const readings = new Readings(graph);
  const known = trainable || alsoTrain || freeze ? floats.map((value) => namesOfValue(value, readings)) : [];
  if (trainable) checkMatches("--trainable", trainable, "parameter", known);
  if (alsoTrain) checkMatches("--trainable", alsoTrain, "parameter", known);
  if (freeze) checkMatches("--freeze", freeze, "parameter", known);
  const ofAdapters = adapterParameters(graph);
  floats.forEach((value, i) => {
    const { role, reason, doubt } = ofAdapters
      ? judgeBesideAdapters(value, readings, ofAdapters)
      : judgeParameter(value, readings);
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

/** In a model with adapters, these are trained, and the base is frozen. */
function judgeBesideAdapters(value: Value, readings: Readings, trained: ReadonlySet<string>): Verdict {
  const verdict = judgeParameter(value, readings);
  if (!trained.has(value.name)) {
    return { role: undefined, reason: "frozen: the model has adapters", doubt: false };
  }
  return { role: verdict.role ?? "weight", reason: verdict.reason, doubt: false };
}

/** Whether a constant has no numbers, as the emptied cache of a decoder. */
const isEmpty = (tensor: Tensor | undefined): boolean => tensor?.dims.includes(0) ?? false;

/** The role in which a value is trained, or why it is not trained. */
interface Verdict {
  readonly role: Role | undefined;
  readonly reason: string;
  /** Whether the file leaves that open. */
  readonly doubt: boolean;
}

/** Judges from the graph whether a value is a parameter: the first reading that makes it one decides. */
export function judgeParameter(value: Value, readings: Readings): Verdict {
  const found = readings.of(value);
  const [first] = found;
  if (!first) return { role: undefined, reason: "nothing reads its numbers", doubt: false };
  const noted = notedKind(value);
  if (noted === "buffer") return { role: undefined, reason: "a buffer, as the exporter notes", doubt: false };
  const origin = foldedFrom(value).find((name) => name !== value.name && readings.has(name));
  // A layer's weight is a parameter whatever the exporter computed it from; an operand of plain arithmetic is not.
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
  const quantizing = scales(reading);
  if (quantizing)
    return constant(`scale of quantized numbers (${quantizing.op} "${quantizing.label}"), which stay frozen`);
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

/** Judges an operand whose place in the graph does not decide whether it is trained. */
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
  // PyTorch's modules hold single numbers as parameters or buffers; elsewhere most single numbers are literals.
  if (single) return isOfModule(value, node) ? yes() : no("it is a single number", known);
  if (!anonymous)
    return known || !value.fromNode ? yes() : no("it is a number of the source without a name", true);
  if (role === "initial state") return isFilled(initializer) ? no("it is filled with one number") : yes();
  // Keras names the scale and shift of a normalization after their layer, and tf2onnx keeps that in the path.
  const normalizing = /(layer|batch|group|rms|instance)_norm/i.test(value.name);
  if (!normalizing && readsInput(node, value)) return no("it scales or shifts an input of the model", true);
  return isFilled(initializer) ? no("it is filled with one number and has no name", true) : yes();
}

/** Last parts of the names of values that are computed once and never trained. */
const bufferName =
  /^(\w*mask|(running|moving)_(mean|var|variance)|\w*grids?|\w*anchors?|strides?|\w*coords?(_\w+)?|position_ids|(inv_)?freqs?\w*|\w*(cos|sin)(_cached?)?|(pixel_|image_)?(mean|std)|window|\w*basis|dft\w*|mel_\w+|\w*filterbank|pe|causal|tril|triu|eps(ilon)?|transform_matrix\d*)$/i;

/** Those of them that are positions. */
const positions = /^(\w*grids?|\w*coords?(_\w+)?|position_ids)$/i;

/** Last parts of the names of trained operands of arithmetic. */
const parameterName =
  /^(weight\w*|bias\w*|gamma\w*|beta\w*|alpha|gain|kernel|scale|(\w+_)?layer_?scale\w*|ls_?\d*|logit_scale|lambda_?\d*|\w*embed(ding)?s?(_table)?|\w*_token|cls|temperature|relative_position_bias_table|original[01]|ReadVariableOp)$/i;

/** Why a value is no parameter, though an operator reads it like one. */
function refusal(value: Value, reading: Reading): { reason: string; doubt: boolean } | undefined {
  const { node, role, computed } = reading;
  const dims = value.initializer?.dims ?? [];
  const sure = (reason: string) => ({ reason, doubt: false });
  const names = [value.name, ...foldedFrom(value)].filter(
    (_, i, all) => all.length === 1 || i > 0 || !isAnonymous(value),
  );
  // Positions that pick rows of a table, or that a layer maps, are no reason to leave out what was folded from both.
  const learned = foldedFrom(value).some((name) => parameterName.test(lastPart(name)));
  const isBuffer = (name: string) => bufferName.test(name) && !(learned && positions.test(name));
  if (notedKind(value) === undefined && names.some((name) => isBuffer(lastPart(name)))) {
    return sure("its name is that of a mask, grid or statistic");
  }
  // A literal in the source; folded weights have other names.
  if (isLiteral(value)) return sure("it is an exporter's constant");
  // A single number expanded to a matrix is an initial state or a filling.
  if (dims.length === 0 && role === "weight" && !computed) return sure("it is a single number");
  if (role === "embedding") {
    if (dims.length < 2 || elementCount(dims) < 2)
      return { reason: "it is a list of numbers", doubt: dims[0] !== 1 };
    const sign = value.initializer && signOfConstant(value.initializer);
    return sign === undefined ? undefined : sure(sign);
  }
  if (role === "weight" && dims.length === 0) return sure("it is a single number, spread to a matrix");
  const frozen = frozenNormalization(reading);
  if (frozen) {
    const doubt = frozen === "likely";
    return { reason: "it belongs to a BatchNorm that the network keeps frozen", doubt };
  }
  const anonymous = isAnonymous(value) && foldedFrom(value).length === 0;
  if (!value.initializer) return undefined;
  // How many points a deformable attention reads, as a factor behind a layer.
  if (
    !anonymous &&
    !learned &&
    foldedFrom(value).length > 0 &&
    plain.has(node.op) &&
    isFilled(value.initializer)
  )
    return {
      reason: "it is filled with one number, and the exporter computed it from no parameter",
      doubt: true,
    };
  if (!anonymous) return undefined;
  if (dims.length === 0 && role !== "operand") return sure("it is an exporter's constant");
  // Frequencies of positions, multiplied with the positions by an Einsum or a MatMul.
  const series = role === "weight" && !computed ? signOfSeries(value.initializer) : undefined;
  if (series) return sure(series);
  if (normalizations.has(node.op) && isFilled(value.initializer)) return sure("it is an exporter's constant");
  if (computed && isFilled(value.initializer)) return sure("it is an exporter's constant");
  return undefined;
}

/** Whether PyTorch's exporters took a single number from a module; they name their own constants differently. */
const isOfModule = (value: Value, node: Reading["node"]): boolean =>
  /[./]bias$/.test(value.name) ||
  foldedFrom(value).length > 0 ||
  node.name.startsWith("/") ||
  (node.name.startsWith("node_") && value.name.includes("."));

/** Whether the other operand is an input of the graph, directly or after arithmetic with constants. */
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
