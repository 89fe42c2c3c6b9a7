import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";

/** Something a model is trained by. */
export interface Parameter {
  readonly value: Value;
  /** What it is to the operator that reads it. */
  readonly role: "weight" | "bias" | "scale" | "slope" | "embedding" | "recurrent" | "operand";
  /** Why it counts as a parameter, in words. */
  readonly reason: string;
}

/** A constant that is not trained. */
export interface ConstantValue {
  readonly value: Value;
  readonly reason: string;
}

/** Options of {@link findParameters}. */
export interface ParameterOptions {
  /** Only what matches is trained; a float constant that matches becomes a parameter whatever its role. */
  readonly trainable?: RegExp;
  /** What matches is not trained. */
  readonly freeze?: RegExp;
}

type Role = Parameter["role"];

/** Roles of inputs by operator; null marks what is never trained. Position is the input's index. */
const rolesOf: Readonly<Record<string, readonly (Role | null)[]>> = {
  Gemm: ["weight", "weight", "bias"],
  MatMul: ["weight", "weight"],
  Conv: [null, "weight", "bias"],
  ConvTranspose: [null, "weight", "bias"],
  Gather: ["embedding"],
  BatchNormalization: [null, "scale", "bias", null, null],
  LayerNormalization: [null, "scale", "bias"],
  GroupNormalization: [null, "scale", "bias"],
  InstanceNormalization: [null, "scale", "bias"],
  RMSNormalization: [null, "scale"],
  PRelu: [null, "slope"],
  LSTM: [null, "recurrent", "recurrent", "recurrent"],
  GRU: [null, "recurrent", "recurrent", "recurrent"],
  RNN: [null, "recurrent", "recurrent", "recurrent"],
};

/** Operators behind which a parameter is still that parameter. */
const passing = new Set(["Identity", "Transpose", "Reshape", "Cast", "Unsqueeze", "Squeeze"]);
const arithmetic = new Set(["Add", "Sub", "Mul", "Div"]);

/** Names that exporters give to trained operands of plain arithmetic. */
const trainedName =
  /(^|[._/:])(weight|bias|gamma|beta|kernel|scale|embeddings?|layer_?scale\w*|cls_token|pos_embed\w*)(:\d+)?$/i;

/**
 * Which float initializers a model is trained by (DESIGN §5.9): by the role in which operators read them; operands of
 * plain arithmetic only by name and rank. Running statistics, masks, scalars and exporters' constants are not.
 */
export function findParameters(
  graph: Graph,
  options: ParameterOptions = {},
): { parameters: Parameter[]; constants: ConstantValue[] } {
  const parameters: Parameter[] = [];
  const constants: ConstantValue[] = [];
  for (const value of graph.initializers) {
    if (!isFloat(value.type)) continue;
    const found = roleOf(value);
    const named = options.trainable?.test(value.name);
    if (options.freeze?.test(value.name)) constants.push({ value, reason: "frozen by --freeze" });
    else if (named) parameters.push({ value, role: found.role ?? "operand", reason: "named by --trainable" });
    else if (!found.role) constants.push({ value, reason: found.reason });
    else if (options.trainable) constants.push({ value, reason: "not named by --trainable" });
    else parameters.push({ value, role: found.role, reason: found.reason });
  }
  return { parameters, constants };
}

function roleOf(value: Value): { role: Role | undefined; reason: string } {
  let reason = "nothing reads it as a parameter";
  for (const { node, index } of readers(value)) {
    const role = node.domain === "" ? rolesOf[node.opType]?.[index] : undefined;
    const where = `${node.op} "${node.label}"`;
    if (role) return { role, reason: `${role} of ${where}` };
    if (role === null) {
      reason =
        node.opType === "BatchNormalization" && index > 2
          ? `running statistic of ${where}`
          : `data of ${where}`;
    } else if (arithmetic.has(node.opType) && node.domain === "") {
      const rank = value.initializer?.dims.length ?? 0;
      if (rank === 1 && node.opType === "Add" && followsWeight(node, index)) {
        return { role: "bias", reason: `bias added by ${where}` };
      }
      if (rank > 0 && trainedName.test(value.name))
        return { role: "operand", reason: `operand of ${where}, by its name` };
      reason =
        rank === 0
          ? `scalar operand of ${where}`
          : `constant operand of ${where}: its name is no parameter's`;
    } else if (index < 0) {
      reason = `read inside a body of ${where}`;
    } else {
      reason = `input ${index} of ${where}`;
    }
  }
  return { role: undefined, reason };
}

/** Where a value is read, operators that only pass it on left out. */
function* readers(value: Value): Generator<{ node: Node; index: number }> {
  for (const { node, index } of value.uses) {
    const [output] = node.outputs;
    if (output && index === 0 && node.domain === "" && passing.has(node.opType)) yield* readers(output);
    else yield { node, index };
  }
}

/** Whether the other operand of an Add is the product of a MatMul with an initializer. */
function followsWeight(add: Node, index: number): boolean {
  const product = add.inputs[1 - index]?.producer;
  return (
    product?.op === "MatMul" &&
    product.inputs.some((input) => {
      let source = input;
      while (source?.producer && passing.has(source.producer.opType))
        source = source.producer.inputs[0] ?? null;
      return source?.initializer !== undefined;
    })
  );
}
