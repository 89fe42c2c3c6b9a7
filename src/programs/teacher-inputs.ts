import { declaredBatchAxis } from "../analysis/dimensions.ts";
import { UsageError } from "../errors.ts";
import { type Attribute, int, ints } from "../graph/attribute.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { type Shape, sameShape } from "../graph/shapes.ts";
import { DataType, type DataTypeName, isFloat } from "../onnx/data-types.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";

/** Largest number of channels for which images are transposed, as where data are fed. */
const mostChannels = 4;

/**
 * Makes an input of a teacher one of the trained model's type and shape. Samples are converted as where data are fed to an
 * input: axes of length 1 are added or removed, samples are flattened, images turned from channels first to last or the reverse.
 * @param partner - the input of the trained model that the teacher shares
 * @param shape - its shape with all lengths known
 * @throws UsageError for a type or a shape that cannot be converted
 */
export function readAs(teacher: Graph, input: Value, partner: Value, shape: Shape | undefined): void {
  const added = new Set<Node>();
  let read = input;
  const insert = (opType: string, more: readonly Value[], attributes: Record<string, Attribute>) => {
    const node = teacher.addNode({
      ...{ opType, inputs: [read, ...more], attributes: new Map(Object.entries(attributes)) },
      outputs: [teacher.freshName(`${input.name}.read`)],
    });
    added.add(node);
    read = node.outputs[0] as Value;
  };
  const { type } = input;
  if (type !== partner.type && type && partner.type) {
    if (!converts(partner.type, type)) {
      throw new UsageError(
        `the teacher takes "${input.name}" as ${type}, the model "${partner.name}" as ${partner.type}: export both with the same type`,
      );
    }
    insert("Cast", [], { to: int(DataType[type]) });
  }
  const change = shape && changeOf(input, partner, shape);
  if (change && "order" in change) insert("Transpose", [], { perm: ints(change.order) });
  if (change && "shape" in change) {
    const name = teacher.freshName(`${input.name}.shape`);
    insert("Reshape", [teacher.addInitializer(Tensor.int64(name, [change.shape.length], change.shape))], {});
  }
  teacher.replaceUses(input, read, { except: added, outputs: true });
  input.type = partner.type;
  input.declared = partner.declared;
}

const isWhole = (type: DataTypeName): boolean => type === "int32" || type === "int64";

const converts = (from: DataTypeName, to: DataTypeName): boolean =>
  (isFloat(from) && isFloat(to)) || (isWhole(from) && isWhole(to));

/** What makes samples of a shape those of an input: an order of axes, or a shape for Reshape; undefined if they are already. */
function changeOf(
  input: Value,
  partner: Value,
  shape: Shape,
): { readonly order: readonly number[] } | { readonly shape: readonly number[] } | undefined {
  const { declared } = input;
  if (!declared) return undefined;
  const matches = (from: readonly number[]) =>
    from.length === declared.length &&
    declared.every((dim, axis) => typeof dim !== "number" || dim === from[axis]);
  if (matches(shape)) return undefined;
  const [batch = 1, ...sample] = shape;
  const [first, ...wanted] = declared;
  const refuse = (advice: string) =>
    new UsageError(
      `the teacher takes "${input.name}" [${declared.map((dim) => dim ?? "?").join(", ")}], the model "${partner.name}" [${shape.join(", ")}]: ${advice}`,
    );
  if (declaredBatchAxis(partner) !== 0 || declaredBatchAxis(input) !== 0)
    throw refuse("export both with the same shape");
  if (typeof first === "number" && first !== batch) {
    throw refuse(
      `export the teacher with a free batch size, or give --batch ${first} if the model's is free`,
    );
  }
  const fixed = wanted.filter((dim) => typeof dim === "number");
  const ones = (dims: readonly number[]) => dims.filter((dim) => dim !== 1);
  const isSame =
    fixed.length === wanted.length &&
    elementCount(fixed) === elementCount(sample) &&
    (fixed.length === 1 || sample.length === 1 || sameShape(ones(fixed), ones(sample)));
  if (isSame) return { shape: [0, ...fixed] };
  const axes = shape.map((_, axis) => axis);
  const last = axes.at(-1) ?? 0;
  const orders = { first: [0, last, ...axes.slice(1, -1)], last: [0, ...axes.slice(2), 1] };
  for (const [place, order] of Object.entries(orders)) {
    const moved = order.map((axis) => shape[axis] as number);
    const channels = place === "first" ? moved[1] : moved.at(-1);
    if (shape.length >= 4 && matches(moved) && (channels ?? 0) <= mostChannels) return { order };
  }
  throw refuse("samples of one are not those of the other; export both with the same shape");
}
