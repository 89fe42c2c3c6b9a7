import { foldedFrom, isAnonymous } from "../analysis/exporter-names.ts";
import { moduleOf, namesOfLayer } from "../analysis/known-names.ts";
import { judgeParameter } from "../analysis/parameters.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import type { Readings } from "../analysis/readings.ts";
import type { Site } from "../analysis/site-types.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { DescribedLayer, Layer, RefusedLayer } from "./layer.ts";
import { addedTo, biasOf } from "./layer-bias.ts";
import { weightSteps } from "./weight-steps.ts";

/** The layer of a product or convolution. */
export function layerOfSite(site: Site): DescribedLayer | RefusedLayer {
  const { node, response, weight, weightInput, name, names, op, units, fanIn, groups } = site;
  const refuse = (reason: string): RefusedLayer => ({ name, names, reason });
  if (!constantTensor(weight)) return refuse("its weight is an input of the model");
  const data = node.inputs[1 - weightInput];
  const operand = node.inputs[weightInput];
  const [product] = node.outputs;
  if (!data || !operand || !product || !response.producer || !isFloat(response.type)) {
    return refuse("its operands are not known");
  }
  const factor = op === "Gemm" ? node.float("alpha", 1) : 1;
  if (factor === 0 || !Number.isFinite(factor)) {
    return refuse(
      `it multiplies its weight by ${factor} (alpha), so that no change of the weight acts like an adapter`,
    );
  }
  const right = weightInput === 1;
  const kernel = (operand.shape ?? []).slice(2);
  const upward = op === "ConvTranspose";
  const convolution = op === "Conv" || upward;
  const flags = op === "Gemm" ? [node.flag("transA"), node.flag("transB")] : [false, false];
  const unitsFirst = convolution ? !upward : (right ? flags[1] : !flags[0]) === true;
  const bias = biasOf(addedTo(site), { units, axis: convolution || right ? -1 : -2 });
  return {
    ...{ name, names, linear: !convolution, last: response.producer },
    module: moduleNamed(node, weight),
    form: convolution ? "convolution" : right ? "right" : "left",
    ...{ input: data.name, transposed: flags[right ? 0 : 1] === true },
    ...{
      product: product.name,
      response: response.name,
      type: response.type ?? "float",
      weight: weight.name,
    },
    unit: convolution ? [fanIn / elementCount(kernel), ...kernel] : [fanIn],
    units,
    ...(convolution && { geometry: geometryOf(node) }),
    ...(upward && { upward }),
    ...(groups > 1 && { groups }),
    ...(bias && { bias }),
    ...formsOf(operand, unitsFirst, factor),
  };
}

/** The projections inside an Attention, whose one weight holds those of queries, keys and values side by side. */
export function layerOfAttention(node: Node): DescribedLayer | RefusedLayer {
  const [data, operand, added] = node.inputs;
  const [product] = node.outputs;
  const [fanIn, units] = operand?.shape ?? [];
  const name = node.label;
  const weight = operand ? weightSteps(operand) : "its operands are not known";
  if (!data || !product || typeof weight === "string" || fanIn === undefined || units === undefined) {
    const reason = typeof weight === "string" ? weight : "its operands are not known";
    return { name, names: operand ? namesOfLayer(node, operand, undefined) : [name], reason };
  }
  const { stored } = weight;
  const bias = biasOf(added ?? undefined, { units, axis: -1 });
  return {
    ...{ name, names: namesOfLayer(node, stored, added ?? undefined), linear: true, last: node },
    ...{ module: moduleNamed(node, stored), form: "right", input: data.name, transposed: false },
    ...{ product: product.name, response: product.name, type: product.type ?? data.type ?? "float" },
    ...{ weight: stored.name, unit: [fanIn], units, inside: true, ...(bias && { bias }) },
    ...formsOf(operand as Value, false, 1),
  };
}

/** A product with a weight of a few bits. */
export function layerOfBlocks(node: Node): DescribedLayer | RefusedLayer {
  const [data, weight] = node.inputs;
  const [product] = node.outputs;
  const [units, fanIn] = [node.int("N", 0), node.int("K", 0)];
  const name = node.label;
  const names = weight ? namesOfLayer(node, weight, undefined) : [name];
  if (!data || !weight || !product || units < 1 || fanIn < 1) {
    return { name, names, reason: "its operands are not known" };
  }
  const isReadable =
    !node.inputs[4] && node.inputs.slice(1).every((input) => !input || constantTensor(input));
  return {
    ...{ name, names, linear: true, last: node, module: moduleNamed(node, weight), form: "right" },
    ...{ input: data.name, transposed: false, product: product.name, response: product.name },
    ...{ type: product.type ?? data.type ?? "float", weight: weight.name, unit: [fanIn], units },
    stored: `its weight has ${node.int("bits", 4)} bits (MatMulNBits)`,
    ...(isReadable && { packed: true as const }),
  };
}

/** The embedding that a GatherBlockQuantized of rows is; undefined for one of something else. */
export function layerOfBlockTable(node: Node): DescribedLayer | undefined {
  const [table, indices, ...scales] = node.inputs;
  const [product] = node.outputs;
  const tensor = table && constantTensor(table);
  if (!tensor || !indices || constantTensor(indices) || !product) return undefined;
  const [rows = 0, width = 0] = tensor.dims;
  const isTable = tensor.dims.length === 2 && node.int("gather_axis", 0) % 2 === 0;
  if (!isTable || !scales.every((input) => !input || constantTensor(input))) return undefined;
  const bits = node.int("bits", 4);
  return {
    ...{ name: node.label, names: namesOfLayer(node, table, undefined), linear: false, last: node },
    ...{ module: moduleNamed(node, table), form: "embedding", input: indices.name, transposed: false },
    ...{ product: product.name, response: product.name, type: product.type ?? "float" },
    // Bytes hold several numbers each; ONNX's types of 4 bits are counted one by one.
    ...{ weight: table.name, unit: [rows], units: tensor.type === "uint8" ? (width * 8) / bits : width },
    ...{ stored: `its weight has ${bits} bits (GatherBlockQuantized)`, packed: true },
  };
}

/** The embedding that a Gather of rows is; undefined for a Gather of something else. */
export function layerOfTable(node: Node, readings: Readings): DescribedLayer | RefusedLayer | undefined {
  const [table, indices] = node.inputs;
  const [product] = node.outputs;
  if (!table || !indices || !product || node.int("axis", 0) !== 0 || constantTensor(indices))
    return undefined;
  const [rows, units] = table.shape ?? constantTensor(table)?.dims ?? [];
  const forms = formsOf(table, false, 1);
  const found = weightSteps(table);
  if (typeof found === "string" || rows === undefined || units === undefined) return undefined;
  const weight = found.stored;
  if (table.shape?.length !== 2 || !isFloat(product.type)) return undefined;
  if (!found.isQuantized && !judgeParameter(weight, readings).role) return undefined;
  return {
    ...{ name: node.label, names: namesOfLayer(node, weight, undefined), linear: false, last: node },
    ...{ module: moduleNamed(node, weight), form: "embedding", input: indices.name, transposed: false },
    ...{ product: product.name, response: product.name, type: product.type ?? "float" },
    ...{ weight: weight.name, unit: [rows], units, ...forms },
  };
}

/** How an operand follows from the stored weight. */
function formsOf(
  operand: Value,
  unitsFirst: boolean,
  factor: number,
): Pick<Layer, "stored"> & Pick<Partial<Layer>, "dequantized"> {
  const found = weightSteps(operand);
  if (typeof found === "string") return { stored: found };
  const { source, steps, isQuantized } = found;
  const form = { unitsFirst, operand: operand.name, factor, dims: operand.shape ?? [], steps };
  if (!isQuantized) return { stored: form };
  return {
    stored: "its weight is quantized (DequantizeLinear)",
    dequantized: { ...form, source: source.name },
  };
}

/** The convolution's integer attributes, without its groups, and auto_pad. */
function geometryOf(node: Node): Record<string, readonly number[] | string> {
  const geometry: Record<string, readonly number[] | string> = {};
  const names = ["kernel_shape", "strides", "pads", "dilations", "output_padding", "output_shape"];
  for (const name of names) {
    const numbers = node.ints(name);
    if (numbers) geometry[name] = numbers;
  }
  const padding = node.string("auto_pad", "NOTSET");
  if (padding !== "NOTSET") geometry.auto_pad = padding;
  return geometry;
}

/** A layer's module: `fc1` of `fc1.weight`, else what the node's name says, else the weight's name. */
function moduleNamed(node: Node, weight: Value): string {
  const module = moduleOf(node);
  // Two layers with tied weights cannot both be named after the weight.
  if (module !== undefined && isTied(weight)) return module;
  const own = isAnonymous(weight) ? foldedFrom(weight) : [weight.name, ...foldedFrom(weight)];
  for (const name of own) {
    const module =
      /^(.+?)(\.MatMul)?\.(weight|kernel|original\d?|parametrizations\.weight\.original\d?)(_\w+|\.merged(_\d+)?)?$/.exec(
        name,
      )?.[1];
    if (module !== undefined) return module;
  }
  return module ?? weight.name;
}

/** Whether a weight is the table of an embedding and also the weight of another layer. */
const isTied = ({ uses }: Value): boolean => {
  const tables = [...uses].filter(
    ({ node, index }) => /Gather(BlockQuantized)?$/.test(node.op) && index === 0,
  ).length;
  return tables > 0 && tables < uses.size;
};
