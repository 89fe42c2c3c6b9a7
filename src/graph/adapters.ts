import { SorthError } from "../errors.ts";
import { Tensor } from "../onnx/tensor.ts";
import { int, ints } from "./attribute.ts";
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";

/** Brings a node of an older opset to the form of opset 18, in place; returns why it cannot. */
type Adapter = (graph: Graph, node: Node, from: number) => string | undefined;

/** The last opset (up to 18) in which an operator's form changed, and how to reach it from the form before. */
interface Change {
  readonly since: number;
  readonly adapt: Adapter;
}

const constant = (graph: Graph, tensor: Tensor): Value => graph.addInitializer(tensor);

/** Appends an int64 input made of an attribute, at a position; absent inputs between are left out. */
function attributeToInput(graph: Graph, node: Node, attribute: string, index: number): void {
  const values = node.ints(attribute);
  if (!values) return;
  node.attributes.delete(attribute);
  const name = graph.freshName(`${node.label}/${attribute}`);
  graph.appendInput(node, index, constant(graph, Tensor.int64(name, [values.length], values)));
}

const axesToInput: Adapter = (graph, node) => {
  attributeToInput(graph, node, "axes", 1);
  return undefined;
};

/** Before opset 13, Softmax and its like flattened their input to two axes; for the last axis that is the same. */
const coercedSoftmax: Adapter = (_graph, node) => {
  const axis = node.int("axis", 1);
  const rank = node.inputs[0]?.shape?.length;
  node.attributes.set("axis", int(axis));
  if (axis === -1 || axis + 1 === rank) return undefined;
  return `its form before opset 13 flattens all axes from ${axis} on; export with opset 13 or above`;
};

const changes: Readonly<Record<string, readonly Change[]>> = {
  ReduceSum: [{ since: 13, adapt: axesToInput }],
  ...Object.fromEntries(
    ["Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"].map((name) => [
      `Reduce${name}`,
      [{ since: 18, adapt: axesToInput }],
    ]),
  ),
  Squeeze: [{ since: 13, adapt: axesToInput }],
  Unsqueeze: [{ since: 13, adapt: axesToInput }],
  Softmax: [{ since: 13, adapt: coercedSoftmax }],
  LogSoftmax: [{ since: 13, adapt: coercedSoftmax }],
  Hardmax: [{ since: 13, adapt: coercedSoftmax }],
  Split: [
    {
      since: 13,
      adapt: (graph, node) => {
        attributeToInput(graph, node, "split", 1);
        return undefined;
      },
    },
    {
      since: 18,
      adapt: (_graph, node) => {
        if (!node.inputs[1]) node.attributes.set("num_outputs", int(node.outputs.length));
        return undefined;
      },
    },
  ],
  Dropout: [
    {
      since: 12,
      adapt: (graph, node) => {
        const ratio = node.float("ratio", 0.5);
        node.attributes.delete("ratio");
        const name = graph.freshName(`${node.label}/ratio`);
        graph.appendInput(node, 1, constant(graph, Tensor.float(name, [], [ratio])));
        return undefined;
      },
    },
  ],
  Clip: [
    {
      since: 11,
      adapt: (graph, node) => {
        for (const [index, bound, fallback] of [
          [1, "min", -3.4028234663852886e38],
          [2, "max", 3.4028234663852886e38],
        ] as const) {
          const value = node.float(bound, fallback);
          node.attributes.delete(bound);
          graph.appendInput(
            node,
            index,
            constant(graph, Tensor.float(graph.freshName(`${node.label}/${bound}`), [], [value])),
          );
        }
        return undefined;
      },
    },
  ],
  Pad: [
    {
      since: 11,
      adapt: (graph, node) => {
        attributeToInput(graph, node, "pads", 1);
        const value = node.float("value", 0);
        node.attributes.delete("value");
        graph.appendInput(
          node,
          2,
          constant(graph, Tensor.float(graph.freshName(`${node.label}/value`), [], [value])),
        );
        return undefined;
      },
    },
  ],
  Slice: [
    {
      since: 10,
      adapt: (graph, node) => {
        const starts = node.ints("starts") ?? [];
        if (!node.ints("axes")) node.attributes.set("axes", ints(starts.map((_, axis) => axis)));
        ["starts", "ends", "axes"].forEach((attribute, i) => {
          attributeToInput(graph, node, attribute, i + 1);
        });
        return undefined;
      },
    },
  ],
  BatchNormalization: [
    {
      since: 14,
      adapt: (graph, node) => {
        if (node.int("spatial", 1) !== 1) return "statistics per element (spatial=0) are not supported";
        node.attributes.delete("spatial");
        // Outputs 1 to 4 marked the training form; its saved statistics are gone since opset 14.
        const training = node.outputs.length > 1;
        if (node.outputs.slice(3).some((output) => output && output.uses.size > 0)) {
          return "its saved statistics are read; export with opset 14 or above";
        }
        graph.dropNodeOutputs(node, training ? 3 : 1);
        if (training) node.attributes.set("training_mode", int(1));
        return undefined;
      },
    },
  ],
  Gemm: [
    { since: 7, adapt: () => "its form before opset 7 broadcasts otherwise; export with opset 11 or above" },
  ],
  Upsample: [{ since: 10, adapt: () => "it was replaced by Resize; export with opset 11 or above" }],
  Resize: [
    {
      since: 11,
      adapt: () => "its form of opset 10 has no coordinate transformation; export with opset 11 or above",
    },
  ],
};

/** Files below this opset are refused: their forms differ in ways that no exporter of the last years writes. */
const oldest = 7;

/**
 * Raises a graph's opset so that gradients may use the forms of `target` (18); a newer graph stays as it is.
 * Nodes whose operator changed on the way are rewritten in place; below opset 13 shapes must have been inferred.
 * @throws SorthError naming the node that has no adapter
 */
export function raiseOpset(graph: Graph, target: number): void {
  const from = graph.opset;
  if (from >= target || graph.nodes.every(({ domain }) => domain !== "")) return;
  if (from < oldest) {
    throw new SorthError(
      `the model is written in opset ${from}; export it with opset 11 or above to differentiate it`,
    );
  }
  for (const node of [...graph.nodes]) {
    if (node.domain !== "") continue;
    if ([...node.attributes.values()].some(({ kind }) => kind === "graph")) {
      throw new SorthError(
        `cannot raise the opset of ${node.op} node "${node.label}" with its bodies; export with opset ${target} or above`,
      );
    }
    for (const { since, adapt } of changes[node.opType] ?? []) {
      const problem = from < since ? adapt(graph, node, from) : undefined;
      if (problem) {
        throw new SorthError(
          `cannot raise ${node.op} node "${node.label}" from opset ${from} to ${target}: ${problem}`,
        );
      }
    }
  }
  graph.opsets.set("", target);
}
