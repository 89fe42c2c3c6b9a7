import Long from "long";
import { decodeModelProto, encodeModelProto } from "../../../src/onnx/codec.ts";
import type { onnx } from "../../../src/onnx/schema.js";
import type { Chance } from "../chance.ts";
import { hostileNumbers } from "./bytes.ts";
import { hostileTexts } from "./text.ts";

type Graph = onnx.GraphProto.$Properties;
type Change = (model: onnx.ModelProto, graph: Graph, chance: Chance) => void;

const long = (value: number): Long => Long.fromNumber(value);

/** Every name of a value in a graph. */
const valuesOf = (graph: Graph): string[] => [
  ...(graph.input ?? []).map(({ name }) => name ?? ""),
  ...(graph.initializer ?? []).map(({ name }) => name ?? ""),
  ...(graph.node ?? []).flatMap(({ output }) => output ?? []),
];

const operators = [
  ...["Gemm", "Conv", "MatMul", "Add", "Relu", "Reshape", "Transpose", "BatchNormalization", "Dropout"],
  ...["Softmax", "Gather", "Concat", "Split", "Loop", "If", "Scan", "LSTM", "Cast", "Shape", "Expand", "Pad"],
  ...[
    "Resize",
    "Einsum",
    "ConstantOfShape",
    "Range",
    "NonZero",
    "constructor",
    "__proto__",
    "NoSuchOperator",
  ],
];

/** A node calls a function that calls others, each defined before or after those that call it; sometimes in a circle. */
function addDeepFunctions(model: onnx.ModelProto, graph: Graph, chance: Chance): void {
  const node = chance.maybe(graph.node);
  const depth = chance.pick([1, 2, 30, 400, 5000]);
  const call = (level: number) => ({ opType: `level${level}`, domain: "deep", input: ["x"], output: ["y"] });
  const end = chance.once(4)
    ? call(chance.below(depth))
    : { opType: "Identity", input: ["x"], output: ["y"] };
  const functions = Array.from({ length: depth }, (_, level) => ({
    ...{ name: `level${level}`, domain: "deep", input: ["x"], output: ["y"] },
    ...{ node: [level === 0 ? end : call(level - 1)], opsetImport: model.opsetImport ?? [] },
  }));
  model.functions = chance.once(2) ? functions : functions.reverse();
  model.opsetImport?.push({ domain: "deep", version: long(1) });
  if (node) Object.assign(node, { opType: `level${depth - 1}`, domain: "deep", attribute: [] });
}

/** Changes of what a model says, which its bytes then say soundly. */
const changes: readonly Change[] = [
  // Edges: another value, none, one that does not exist, a cycle.
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    if (!node?.input?.length) return;
    node.input[chance.below(node.input.length)] = chance.once(4)
      ? chance.pick(["", "nowhere", ...hostileTexts])
      : chance.pick(valuesOf(graph));
  },
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    if (!node?.output?.length) return;
    node.output[chance.below(node.output.length)] = chance.once(3)
      ? chance.pick(hostileTexts)
      : chance.pick(valuesOf(graph));
  },
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    const inputs = [...(node?.input ?? [])];
    if (!node) return;
    if (chance.once(2)) inputs.push(chance.pick(valuesOf(graph)));
    else inputs.splice(chance.below(inputs.length), 1);
    node.input = inputs;
  },
  // Nodes: removed, repeated, moved, of another operator or domain, with another name.
  (_, graph, chance) => graph.node?.splice(chance.below(graph.node.length), 1),
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    if (node) graph.node?.splice(chance.below(graph.node.length), 0, node);
  },
  (_, graph, chance) => {
    const [node] = graph.node?.splice(chance.below(graph.node.length), 1) ?? [];
    if (node) graph.node?.splice(chance.below(graph.node.length), 0, node);
  },
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    if (!node) return;
    if (chance.once(3)) node.domain = chance.pick(["com.microsoft", "ai.onnx.ml", ...hostileTexts]);
    else node.opType = chance.pick(operators);
  },
  (_, graph, chance) => {
    const node = chance.maybe(graph.node);
    if (node) node.name = chance.pick([...hostileTexts, ...valuesOf(graph)]);
  },
  // Attributes: removed, of another type, with hostile numbers, a whole graph.
  (_, graph, chance) => {
    const attributes = chance.maybe(graph.node?.filter((node) => node.attribute?.length))?.attribute;
    const attribute = chance.maybe(attributes);
    if (!attributes || !attribute) return;
    const number = chance.pick(hostileNumbers);
    const ways: readonly (() => void)[] = [
      () => attributes.splice(attributes.indexOf(attribute), 1),
      () => attributes.push(attribute),
      () => {
        attribute.i = long(number);
      },
      () => {
        attribute.f = chance.pick([Number.NaN, Number.POSITIVE_INFINITY, -1, 1e38]);
      },
      () => {
        attribute.ints = [...(attribute.ints ?? []), long(number)];
      },
      () => {
        attribute.ints = (attribute.ints ?? []).map((one) => (chance.once(2) ? long(number) : one));
      },
      () => {
        // Only where all agree do the sizes that they give seem possible.
        const same = chance.once(4) ? Long.MAX_VALUE : long(number);
        attribute.ints = (attribute.ints ?? []).map(() => same);
      },
      () => {
        attribute.type = chance.below(16);
      },
      () => {
        attribute.name = chance.pick([...hostileTexts, "axis", "to", "group", "body", "then_branch"]);
      },
      () => Object.assign(attribute, { g: { input: graph.input, output: graph.output }, type: 5 }),
    ];
    chance.pick(ways)();
  },
  // Weights: another name, type, shape; too few or too many bytes; a second one of the name; data elsewhere.
  (_, graph, chance) => {
    const tensor = chance.maybe(graph.initializer);
    if (!tensor) return;
    const at = chance.below(tensor.dims?.length ?? 0);
    const raw = tensor.rawData ?? new Uint8Array();
    const ways: readonly (() => void)[] = [
      () => {
        tensor.name = chance.pick([...hostileTexts, ...valuesOf(graph)]);
      },
      () => {
        tensor.dataType = chance.below(26);
      },
      () => tensor.dims?.splice(at, 1, long(chance.pick(hostileNumbers))),
      () => tensor.dims?.push(long(chance.pick([1, 0, 2, -1]))),
      () => tensor.dims?.splice(at, 1),
      () => {
        tensor.rawData = raw.slice(0, chance.below(raw.length));
      },
      () => {
        tensor.rawData = Buffer.concat([raw, chance.bytes(chance.length(64))]);
      },
      () => graph.initializer?.push(tensor),
      () => graph.initializer?.splice(graph.initializer.indexOf(tensor), 1),
      () => {
        tensor.floatData = [1, Number.NaN];
      },
      () => {
        tensor.stringData = [chance.bytes(4)];
      },
      () => Object.assign(tensor, { dataLocation: 1, externalData: [{ key: "location", value: "no.data" }] }),
    ];
    chance.pick(ways)();
  },
  (_, graph, chance) => {
    const raw = chance.maybe(graph.initializer)?.rawData;
    if (!raw || raw.length < 4) return;
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const number = chance.pick([Number.NaN, Number.POSITIVE_INFINITY, 3e38, 1e-45, 0, -0]);
    for (let i = 0; i < chance.length(8); i++)
      view.setFloat32(4 * chance.below(Math.floor(raw.length / 4)), number, true);
  },
  // Inputs and outputs: another name, type or shape; removed, repeated, undeclared.
  (_, graph, chance) => {
    const list = chance.pick([graph.input, graph.output, graph.valueInfo]);
    const value = chance.maybe(list);
    if (!list || !value) return;
    const tensor = value.type?.tensorType;
    const dims = tensor?.shape?.dim;
    const at = chance.below(dims?.length ?? 0);
    const ways: readonly (() => void)[] = [
      () => {
        value.name = chance.pick([...hostileTexts, ...valuesOf(graph)]);
      },
      () => list.splice(list.indexOf(value), 1),
      () => list.push(value),
      () => Object.assign(tensor ?? {}, { elemType: chance.below(26) }),
      () => dims?.splice(at, 1, { dimValue: long(chance.pick(hostileNumbers)) }),
      () => dims?.splice(at, 1, { dimParam: chance.pick(hostileTexts) }),
      () => dims?.splice(at, 1),
      () => dims?.push({}),
      () => {
        value.type = null;
      },
      () => Object.assign(tensor ?? {}, { shape: null }),
      () => {
        value.type = { sequenceType: { elemType: value.type ?? null } };
      },
    ];
    chance.pick(ways)();
  },
  // The model: its opset, IR, domain, metadata (an injected block's mark among them), functions.
  (model, graph, chance) => {
    const opset = chance.maybe(model.opsetImport);
    const ways: readonly (() => void)[] = [
      () =>
        Object.assign(opset ?? {}, {
          version: long(chance.pick([...hostileNumbers, 7, 11, 13, 18, 26, 99])),
        }),
      () =>
        Object.assign(opset ?? {}, { domain: chance.pick(["ai.onnx", "com.microsoft", ...hostileTexts]) }),
      () => {
        model.opsetImport = [];
      },
      () => {
        model.irVersion = long(chance.pick(hostileNumbers));
      },
      () => {
        model.graph = null;
      },
      () => model.functions?.splice(0, 1),
      () =>
        model.functions?.push({
          name: chance.pick(operators),
          domain: "",
          output: ["y"],
          node: [{ opType: chance.pick(operators), output: ["y"] }],
        }),
      () => addDeepFunctions(model, graph, chance),
    ];
    chance.pick(ways)();
  },
  (model, graph, chance) => {
    const entry = chance.maybe(model.metadataProps);
    if (!entry) return;
    const text = entry.value ?? "";
    const at = chance.below(text.length);
    const ways: readonly (() => void)[] = [
      () => {
        entry.value = text.slice(0, at);
      },
      () =>
        (entry.value = text.replace(/\d+/g, (digits) =>
          chance.once(3) ? String(chance.pick(hostileNumbers)) : digits,
        )),
      () => {
        entry.value = text.slice(0, at) + chance.pick(hostileTexts) + text.slice(at);
      },
      () => {
        entry.key = chance.pick(hostileTexts);
      },
      () => model.metadataProps?.push(entry),
      () => {
        graph.node = (graph.node ?? []).filter(() => !chance.once(6));
      },
    ];
    chance.pick(ways)();
  },
];

/** The graphs of a model: its own, and those of bodies and branches. */
function graphsOf(graph: Graph): Graph[] {
  const inner = (graph.node ?? []).flatMap(({ attribute }) => (attribute ?? []).flatMap(({ g }) => g ?? []));
  return [graph, ...inner.flatMap(graphsOf)];
}

/** The model with one thing that it says changed, or a few. */
export function changedGraph(bytes: Uint8Array, chance: Chance): Uint8Array {
  const model = decodeModelProto(bytes.slice());
  if (!model.graph) return bytes;
  const graphs = graphsOf(model.graph);
  for (let i = 0; i <= chance.below(chance.pick([1, 1, 2, 5])); i++)
    chance.pick(changes)(model, chance.pick(graphs), chance);
  return encodeModelProto(model);
}
