import { type Attribute, float, int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { type DataTypeName, dataTypeName, isFloat } from "../../onnx/data-types.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changes, definePass } from "../pass.ts";

/** Least and greatest number of the types to which activations are quantized. */
const ranges: Partial<Record<DataTypeName, readonly [number, number]>> = {
  ...{ int8: [-128, 127], uint8: [0, 255], int16: [-32_768, 32_767], uint16: [0, 65_535] },
  ...{ int4: [-8, 7], uint4: [0, 15], int2: [-2, 1], uint2: [0, 3] },
};

/**
 * Quantized activations become floats that hold the same whole numbers, written with Round and Clip, and operators on quantized
 * numbers become those on floats. So a gradient can pass straight through Round, and is 0 where Clip cuts, as with PyTorch's
 * fake quantization. Weights that are stored as integers stay; DequantizeLinear reads them.
 *
 *     q = QuantizeLinear(x, s, z), y = DequantizeLinear(q, s, z)  →  q = Clip(Round(x/s) + z, 0, 255), y = (q − z)·s
 *     y = QLinearMatMul(q, s, z, w, …)  →  y = Clip(Round(MatMul((q − z)·s, DequantizeLinear(w, …))/…) + …, 0, 255)
 *
 * For a graph whose shapes are inferred.
 */
export const writeOutQuantizers = definePass({
  name: "write-out-quantizers",
  options: {},
  run(graph, _options, { emit }) {
    const writer = new Writer(graph, emit);
    let written = 0;
    for (const node of graph.sorted()) if (writer.write(node)) written += 1;
    return changes(written, "node", "no activation is quantized");
  },
});

type Operand = Value | null | undefined;

class Writer {
  readonly #graph: Graph;
  readonly #g: Emit;
  /** Values that were integers and are floats now. */
  readonly #levels = new Set<Value>();

  constructor(graph: Graph, emit: Emit) {
    this.#graph = graph;
    this.#g = emit;
  }

  /** @returns whether a node was rewritten */
  write(node: Node): boolean {
    const made = this.#written(node);
    if (!made) return this.#onFloats(node);
    const [output] = node.outputs;
    if (!output) return false;
    const { name } = output;
    const levels = !isFloat(output.type);
    this.#graph.replaceUses(output, made, { outputs: true });
    // DynamicQuantizeLinear still computes the scale.
    if (node.opType === "DynamicQuantizeLinear")
      this.#graph.rename(output, this.#graph.freshName(`${name}/stored`));
    else this.#graph.removeNodes(new Set([node]));
    this.#graph.rename(made, name);
    if (levels && node.opType !== "MatMulInteger" && node.opType !== "ConvInteger") this.#levels.add(made);
    return true;
  }

  #written(node: Node): Typed | undefined {
    const { op, inputs } = node;
    const [a, b, c, d] = inputs;
    const axis = node.int("axis", 1);
    switch (op.replace(/^com\.microsoft\./, "")) {
      case "QuantizeLinear": {
        const type = c?.type ?? dataTypeName(node.int("output_dtype", 0) || 2);
        if (node.int("block_size", 0) !== 0 || !ranges[type]) return undefined;
        return this.#quantized(a, b, c, axis, type);
      }
      case "DequantizeLinear":
        return a && this.#levels.has(a) && node.int("block_size", 0) === 0
          ? this.#real(a, b, c, axis)
          : undefined;
      case "DynamicQuantizeLinear": {
        const [, scale, zero] = node.outputs;
        return scale && zero ? this.#quantized(a, scale, zero, 0, "uint8") : undefined;
      }
      case "MatMulInteger":
        return this.#node("MatMul", node, [this.#centered(a, c, -2), this.#centered(b, d, -1)]);
      case "ConvInteger":
        return this.#node("Conv", node, [this.#centered(a, c, 1), this.#centered(b, d, 0)], node.attributes);
      case "MatMulIntegerToFloat": {
        const [, , aScale, bScale, aZero, bZero, bias] = inputs;
        return this.#plusBias(
          this.#node("MatMul", node, [this.#real(a, aScale, aZero, -2), this.#real(b, bScale, bZero, -1)]),
          bias,
        );
      }
      case "DynamicQuantizeMatMul": {
        const [, , , , bias] = inputs;
        const { shape } = typed(a as Value);
        const [, scale, zero] = this.#g.multi(
          "DynamicQuantizeLinear",
          [a ?? null],
          [
            { type: "uint8", shape },
            { type: "float", shape: [] },
            { type: "uint8", shape: [] },
          ],
        );
        const levels = this.#quantized(a, scale, zero, 0, "uint8") as Typed;
        this.#levels.add(levels);
        const read = [this.#real(levels, scale, zero, 0), this.#real(b, c, d, -1)];
        return this.#plusBias(this.#node("MatMul", node, read), bias);
      }
      case "QLinearMatMul":
        return this.#requantized(node, 6, [this.#pair(node, 0, -2), this.#pair(node, 3, -1)], "MatMul");
      case "QLinearConv": {
        if (node.int("channels_last", 0) !== 0) return undefined;
        const bias =
          inputs[8] && this.#real(inputs[8], this.#g.mul(inputs[1] as Value, inputs[4] as Value), null, 0);
        const read = [this.#pair(node, 0, 1), this.#pair(node, 3, 0), ...(bias ? [bias] : [])];
        return this.#requantized(node, 6, read, "Conv", without(node, "channels_last"));
      }
      case "QGemm": {
        const units = node.flag("transB") ? 0 : 1;
        const alpha = node.float("alpha", 1);
        const scale = this.#g.mul(alpha, this.#g.mul(inputs[1] as Value, inputs[4] as Value));
        const bias = inputs[6] && this.#real(inputs[6], scale, null, -1);
        const read = [this.#pair(node, 0, 1), this.#pair(node, 3, units), ...(bias ? [bias] : [])];
        if (inputs[7]) return this.#requantized(node, 7, read, "Gemm", node.attributes);
        return this.#node("Gemm", node, read, node.attributes);
      }
      case "QLinearAdd":
      case "QLinearMul": {
        const read = [this.#pair(node, 0, 0), this.#pair(node, 3, 0)];
        return this.#requantized(node, 6, read, op.endsWith("Add") ? "Add" : "Mul");
      }
      case "QLinearSigmoid":
        return this.#requantized(node, 3, [this.#pair(node, 0, 0)], "Sigmoid");
      case "QLinearLeakyRelu": {
        const slope = new Map([["alpha", float(node.float("alpha", 0.01))]]);
        return this.#requantized(node, 3, [this.#pair(node, 0, 0)], "LeakyRelu", slope);
      }
      case "QLinearSoftmax": {
        if (node.int("opset", 13) < 13) return undefined;
        const along = new Map([["axis", int(node.int("axis", -1))]]);
        return this.#requantized(node, 3, [this.#pair(node, 0, 0)], "Softmax", along);
      }
      case "QLinearGlobalAveragePool":
      case "QLinearAveragePool": {
        if (node.int("channels_last", 0) !== 0) return undefined;
        const pool = op.includes("Global") ? "GlobalAveragePool" : "AveragePool";
        return this.#requantized(node, 3, [this.#pair(node, 0, 0)], pool, without(node, "channels_last"));
      }
      case "QLinearConcat": {
        const parts = inputs.flatMap((_, i) => (i >= 2 && i % 3 === 2 ? [this.#pair(node, i, 0)] : []));
        return this.#requantized(node, 0, parts, "Concat", node.attributes);
      }
      default:
        return undefined;
    }
  }

  /** An operator that moves or compares numbers does so with the floats in their place. */
  #onFloats(node: Node): boolean {
    if (!node.inputs.some((input) => input && this.#levels.has(input))) return false;
    if (node.opType === "Cast" && !isFloat(dataTypeName(node.int("to", 0)))) node.opType = "Identity";
    if (node.opType === "Identity") node.attributes.clear();
    node.inputs.forEach((input, index) => {
      const fixed = input?.type !== undefined && ranges[input.type] && !this.#levels.has(input);
      if (input && fixed) this.#graph.setInput({ node, index }, this.#g.cast(input, "float"));
    });
    for (const output of node.outputs) {
      if (!output?.type || !(output.type in ranges || node.opType === "Identity")) continue;
      output.type = "float";
      this.#levels.add(output);
    }
    return true;
  }

  /** Clip(Round(x/scale) + zero) over the range of a type. */
  #quantized(x: Operand, scale: Operand, zero: Operand, axis: number, type: DataTypeName): Typed | undefined {
    const range = ranges[type];
    if (!x || !scale || !range) return undefined;
    const g = this.#g;
    const number = typed(scale).type;
    const from = g.cast(x, number);
    const rounded = g.op("Round", [g.div(from, this.#spread(scale, from, axis))], from.shape);
    const shifted = isZero(zero)
      ? rounded
      : g.add(rounded, this.#spread(g.cast(zero as Value, number), from, axis));
    const [low, high] = range.map((bound) => g.scalar(bound, number));
    return g.op("Clip", [shifted, low as Typed, high as Typed], from.shape);
  }

  /** (x − zero)·scale; weights are read by DequantizeLinear. */
  #real(x: Operand, scale: Operand, zero: Operand, axis: number): Typed {
    const [from, factor] = [typed(x as Value), typed(scale as Value)];
    const g = this.#g;
    if (this.#levels.has(from)) {
      const centered = isZero(zero)
        ? from
        : g.sub(from, this.#spread(g.cast(zero as Value, factor.type), from, axis));
      return g.mul(centered, this.#spread(factor, from, axis));
    }
    const single = elementCount(factor.shape) === 1;
    const read = single ? [g.reshape(factor, []), zero && g.reshape(zero, [])] : [factor, zero ?? null];
    return g.op("DequantizeLinear", [from, ...read.map((one) => one ?? null)], from.shape, {
      type: factor.type,
      ...(single ? {} : { attributes: { axis: int(normalizeAxis(axis, from.shape.length)) } }),
    });
  }

  /** x − zero as floats. */
  #centered(x: Operand, zero: Operand, axis: number): Typed {
    const shape = zero ? typed(zero).shape : [];
    return this.#real(x, this.#g.filled(1, shape, "float"), zero, axis);
  }

  /** The number that a node reads as three inputs from `index` on: integers, their scale, their zero point. */
  #pair(node: Node, index: number, axis: number): Typed {
    const [x, scale, zero] = node.inputs.slice(index, index + 3);
    return this.#real(x, scale, zero, axis);
  }

  /** An operator on floats, whose result is quantized as the node's inputs from `index` on say. */
  #requantized(
    node: Node,
    index: number,
    read: readonly Value[],
    opType: string,
    attributes?: ReadonlyMap<string, Attribute>,
  ): Typed | undefined {
    const [scale, zero] = node.inputs.slice(index);
    const [output] = node.outputs;
    return (
      output?.type && this.#quantized(this.#node(opType, node, read, attributes), scale, zero, 1, output.type)
    );
  }

  #node(opType: string, node: Node, read: readonly Value[], given?: ReadonlyMap<string, Attribute>): Typed {
    const { shape } = typed(node.outputs[0] as Value);
    return this.#g.op(opType, read, shape, { type: "float", attributes: Object.fromEntries(given ?? []) });
  }

  #plusBias(product: Typed, bias: Operand): Typed {
    return bias ? this.#g.add(product, bias) : product;
  }

  /** One number, or one for each index of an axis, in a shape that broadcasts over `like`. */
  #spread(value: Value, like: Typed, axis: number): Typed {
    const { shape } = typed(value);
    if (elementCount(shape) === 1) return this.#g.reshape(value, []);
    const at = normalizeAxis(axis, like.shape.length);
    return this.#g.reshape(
      value,
      like.shape.map((_, other) => (other === at ? dimAt(shape, 0) : 1)),
    );
  }
}

const isZero = (zero: Operand): boolean =>
  !zero || (zero.initializer?.numbers().every((number) => number === 0) ?? false);

const without = ({ attributes }: Node, name: string): ReadonlyMap<string, Attribute> =>
  new Map([...attributes].filter(([key]) => key !== name));
