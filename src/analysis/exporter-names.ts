import type { Node, Value } from "../graph/node.ts";

/** Longest part of an exporter's note that is read, in characters. */
export const longestNote = 4096;

/** Metadata key under which PyTorch's exporter lists the values that a constant was computed from. */
const foldedKey = "pkg.onnxscript.optimizer.folded_from";

/** Metadata key under which PyTorch's exporter says what a value was in the module: PARAMETER, BUFFER, CONSTANT_TENSOR. */
const kindKey = "pkg.torch.export.graph_signature.InputSpec.kind";

/** The strings in a printed Python list. */
export const textsIn = (list: string): string[] =>
  [...list.slice(0, longestNote).matchAll(/'([^'\\\n]*)'/g)].map(([, text = ""]) => text);

/** Values that PyTorch's exporter named after the operator that computed them, before it folded them. */
const operatorName = new RegExp(
  `^(${[
    "_?unsafe_view|view|expand|unsqueeze|squeeze|slice|select|repeat|tile|permute|transpose|reshape|flatten|unflatten",
    "div|mul|add|sub|rsub|neg|exp|log|abs|sign|floor|ceil|round|trunc|reciprocal|square|sqrt|rsqrt|pow|sin|cos|outer|clamp",
    "linear|matmul|mm|bmm|addmm|einsum|dot|mv|sum|prod|amax|amin|maximum|minimum|cumsum|cumprod|all|any|where|masked_fill",
    "cat|stack|concat|unbind|split|split_with_sizes|chunk|tril|triu|meshgrid|broadcast_to|repeat_interleave|remainder|fmod",
    "gt|lt|ge|le|eq|ne|logical_\\w+|bitwise_\\w+|floor_divide|true_divide|select_scatter|slice_scatter|index_select|index_put",
    "clone|copy|contiguous|_to_copy|index|getitem|gather|alias|detach|flip|roll|pad|fill|shape|value_\\d+|m(in|ax)_val|\\w*norm",
  ].join("|")})(_\\d+)?$`,
);

/**
 * Literals: numbers written in the source code. `/model/constants/FLOAT/30.0` is onnxruntime-genai's, `Mu_Mulcst1` that of a
 * scaler or another preprocessing of skl2onnx, whose trained values are called coefficient and intercepts, `helper.constant.7`
 * a number that paddle2onnx adds, such as the scale of the InstanceNormalization in a GroupNorm.
 */
const literal =
  /^\w+_[A-Z]\w+cst\d*$|^helper\.constant\.\d+$|(^|\/)Constant(_\d+)?(_output_\d+)?$|(^|\/)constants\/B?(FLOAT|DOUBLE)\d*\/|^(full|zeros|ones|arange|linspace|eye|scalar_tensor|(_?lifted)?_?tensor_constant|lifted_tensor)\w*(_\d+)?$/;

/** Exporters' names of their own constants: `val_3`, `onnx::Mul_12`, `const_fold_opt__7`, and all of TensorFlow's except variables. */
const anonymous =
  /^(val_\d+|onnx::\w+_\d+|_?tensor_constant\d*|const_fold_opt_+\d+|ortshared_\w+|.*lifted_tensor\w*|\w*_(cast|default)(_\d+)?|[A-Z]\w*__\d+)$|^(?!.*ReadVariableOp).*:\d+$/i;

/** What a value was in the source, as the exporter noted it. */
export function notedKind(value: Value): "parameter" | "buffer" | undefined {
  const kind = value.metadata.get(kindKey);
  return kind === "PARAMETER" ? "parameter" : kind === "BUFFER" ? "buffer" : undefined;
}

/** Source names of the values that an exporter computed a constant from, for example by a transposition. */
export function foldedFrom(value: Value): string[] {
  const noted = value.metadata.get(foldedKey);
  if (noted === undefined) return [];
  const ofExporter = [anonymous, operatorName, literal];
  return textsIn(noted).filter((name) => name !== "" && !ofExporter.some((pattern) => pattern.test(name)));
}

/** Whether a constant is a literal of the source, or computed only from literals. */
export const isLiteral = (value: Value): boolean =>
  literal.test(value.name) || (value.metadata.has(foldedKey) && foldedFrom(value).length === 0);

/** Whether the exporter invented the value's name. */
export const isAnonymous = (value: Value): boolean =>
  anonymous.test(value.name) || operatorName.test(value.name) || value.metadata.has(foldedKey);

/**
 * Whether an exporter folded a BatchNormalization into a node: PyTorch's notes which of its rewrites made a node, and tf2onnx
 * calls a convolution after the last operator that went into it.
 */
export const isFoldedByExporter = (node: Pick<Node, "op" | "name" | "metadata">): boolean =>
  /FuseBatchNorm/.test(node.metadata.get("pkg.onnxscript.rewriter.rule_name") ?? "") ||
  (/^(Conv|ConvTranspose|Gemm|MatMul|Add)$/.test(node.op) &&
    /(^|\/)(batchnorm|FusedBatchNorm\w*)(\/|_|$)/i.test(node.name.slice(0, longestNote)));

/** Last part of a name: `bias` of `model/dense/bias/Read/ReadVariableOp:0`, `pos_embed` of `encoder.pos_embed`. */
export function lastPart(name: string): string {
  const trimmed = name.replace(/:\d+$/, "").replace(/(\/Read)?\/ReadVariableOp(\/resource)?$/, "");
  return trimmed.split(/[./]/).at(-1) ?? name;
}
