import type { Probe } from "../../analysis/probe.ts";
import { ints } from "../../graph/attribute.ts";
import { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { graphToProto } from "../../graph/proto.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { encodeModelProto } from "../../onnx/codec.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";
import { depthwiseInBlocks } from "./block-depthwise.ts";
import { blockedDomain, channelsLastFromBlocks, fromBlocks, permutes, toBlocks } from "./blocked-layout.ts";
import { weightInBlocks } from "./blocked-weight.ts";

/**
 * How many channels a block has in this ONNX Runtime on this machine: 16 with AVX-512, 8 with AVX. Found by looking at
 * a reordered tensor, and only believed if a convolution in that layout gives the plain one's numbers.
 * @returns undefined where there is no such layout (the web, other processors)
 */
export function channelBlock(probe: Probe): Promise<number | undefined> {
  const block = found.get(probe) ?? findBlock(probe);
  found.set(probe, block);
  return block;
}

/** What was found with a probe: several forms ask. */
const found = new WeakMap<Probe, Promise<number | undefined>>();

async function findBlock(probe: Probe): Promise<number | undefined> {
  try {
    const block = await blockOfReordering(probe);
    return block && (await agrees(probe, block)) ? block : undefined;
  } catch {
    // A build without these operators refuses the model.
    return undefined;
  }
}

/** The layout is [channels/block, height, width, block]: element (0, 0, 0, 1) comes after one block. */
async function blockOfReordering(probe: Probe): Promise<number | undefined> {
  const [channels, width] = [32, 2];
  const graph = new Graph("layout", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "" });
  const x = typed(graph.addInput("x", "float", [1, channels, 1, width]));
  graph.addOutput(toBlocks(g, x, channels));
  const count = channels * width;
  graph.opsets.set(blockedDomain, 1);
  const data = Tensor.float(
    "x",
    x.shape,
    Float32Array.from({ length: count }, (_, i) => i),
  );
  const [reordered] = (await probe.run(bytesOf(graph), new Map([["x", data]]))).values();
  const block = reordered?.numbers().indexOf(1);
  return block === 8 || block === 16 ? block : undefined;
}

/** Whether convolutions give the same numbers in both layouts: one over all channels, one with a kernel per channel. */
async function agrees(probe: Probe, block: number): Promise<boolean> {
  const channels = 2 * block;
  const alike = [1, channels].map((group) =>
    agreesOn(probe, block, group, { x: [1, channels, 9, 8], w: [channels, channels / group, 3, 3] }),
  );
  return (await Promise.all(alike)).every(Boolean);
}

async function agreesOn(
  probe: Probe,
  block: number,
  group: number,
  shapes: { x: Shape; w: Shape },
): Promise<boolean> {
  const feeds = new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const numbers = Float32Array.from(
        { length: elementCount(shape) },
        (_, i) => ((i * 37) % 23) / 23 - 0.5,
      );
      return [name, Tensor.float(name, shape, numbers)];
    }),
  );
  const results = [false, true].map(async (blocked) => {
    const graph = new Graph("convolution", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "" });
    const [x, w] = [graph.addInput("x", "float", shapes.x), graph.addInput("w", "float", shapes.w)];
    graph.addOutput(g.conv(x, w, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group }));
    if (blocked && rewrite(graph, g, block) !== 1) return undefined;
    return [...(await probe.run(bytesOf(graph), feeds)).values()][0]?.numbers();
  });
  const [plain, other] = await Promise.all(results);
  return !!plain && plain.every((value, i) => Math.abs(value - (other?.[i] ?? Number.NaN)) < 1e-3);
}

const bytesOf = (graph: Graph) => encodeModelProto(graphToProto(graph, { irVersion: 9 }));

/**
 * Runs convolutions whose weights are computed or fed in the blocked layout: forward ones and those of gradients. For
 * the CPU of node. Measured on the shapes of docs/decisions.md, reordering included: 1.1 to 2 times faster, depthwise
 * ones 1.3 to 20 times.
 *
 *     y = Conv(x, w)  →  y = ReorderOutput(blocked.Conv(ReorderInput(x), blocked w))
 *
 * @returns how many convolutions it took
 */
export const blockConvolutions = definePass({
  name: "block-convolutions",
  options: {
    /** How many channels a block has: what {@link channelBlock} found. */
    block: 8,
  },
  run(graph, { block }, { emit }) {
    const taken = rewrite(graph, emit, block);
    return taken > 0
      ? changed(`${counted(taken, "convolution")} in blocks of ${block} channels`, taken)
      : unchanged("no convolution with a computed or fed weight is large enough, in whole blocks", taken);
  },
});

/** @returns how many convolutions it took */
function rewrite(graph: Graph, g: Emit, block: number): number {
  const taken = graph.nodes.flatMap((node): [Node, Typed][] => {
    const blocked =
      depthwiseInBlocks(g, node, block) ?? samplesInBlocks(g, node, block) ?? denseInBlocks(g, node, block);
    const [y] = node.outputs;
    if (!blocked || !y) return [];
    graph.replaceUses(y, blocked, { outputs: true });
    return [[node, blocked]];
  });
  if (taken.length > 0) graph.opsets.set(blockedDomain, 1);
  const transposes = taken.flatMap(([, plain]) => channelsLastFromBlocks(graph, g, plain));
  graph.removeNodes(new Set([...taken.map(([node]) => node), ...transposes]));
  return taken.length;
}

/** Computes the output of a convolution in which every output channel reads every input channel. */
function denseInBlocks(g: Emit, node: Node, block: number): Typed | undefined {
  const [x, w, bias] = node.inputs;
  const [y] = node.outputs;
  if (!x || !w || !y || !isWorthwhile(node, block)) return undefined;
  const inputs = [toBlocks(g, typed(x), block), weightInBlocks(g, typed(w), block), ...(bias ? [bias] : [])];
  return convolved(g, node, inputs);
}

/** The output of a convolution of which these are the inputs in blocks. */
function convolved(g: Emit, node: Node, inputs: readonly Value[]): Typed {
  const [y, w] = [typed(node.outputs[0] as Value), typed(node.inputs[1] as Value)];
  const attributes = { ...Object.fromEntries(node.attributes), kernel_shape: ints(w.shape.slice(2)) };
  return fromBlocks(g, g.op("Conv", inputs, y.shape, { domain: blockedDomain, attributes }));
}

/** Computes a convolution whose channels are samples, fewer than a block: images stay plain, and kernels are images in blocks. */
function samplesInBlocks(g: Emit, node: Node, block: number): Typed | undefined {
  const [x, w] = node.inputs;
  const [y] = node.outputs;
  const given = w?.producer && permutes(w.producer, [1, 0, 2, 3]) ? w.producer.inputs[0] : undefined;
  if (node.op !== "Conv" || x?.type !== "float" || !x.shape || !w?.shape || !y?.shape || !given)
    return undefined;
  const [kernels, samples, ...size] = w.shape as [number, number, ...number[]];
  const isGradient = elementCount(size) > elementCount(y.shape.slice(2)) && node.inputs.length === 2;
  if (!isGradient || samples >= block || kernels % block !== 0 || samples !== dimAt(x.shape, 1))
    return undefined;
  const weight = g.once(`samples of ${given.name} as kernels`, () => {
    const blocks = g.reshape(toBlocks(g, typed(given), block), [
      samples,
      kernels / block,
      elementCount(size) * block,
    ]);
    return g.reshape(g.transpose(blocks, [1, 0, 2]), w.shape as Shape);
  });
  return convolved(g, node, [x, weight]);
}

/** Plain 2-D convolutions in whole blocks of channels, with more work than moving data takes. */
function isWorthwhile(node: Node, block: number): boolean {
  const [x, w] = node.inputs;
  const [y] = node.outputs;
  if (node.op !== "Conv" || node.int("group", 1) !== 1) return false;
  if (x?.type !== "float" || !x.shape || !w?.shape || !y?.shape || x.shape.length !== 4) return false;
  // ONNX Runtime blocks constant weights itself.
  if (w.initializer || node.string("auto_pad", "NOTSET") !== "NOTSET") return false;
  const [outputs, inputs] = [dimAt(w.shape, 0), dimAt(w.shape, 1)];
  const points = elementCount(y.shape.slice(2));
  const whole = outputs % block === 0 && inputs % block === 0;
  const windows = elementCount(w.shape.slice(2)) > 1;
  if (!whole || !windows || points < 64) return false;
  // The weights are reordered each time: that pays if they are few for each position, or not too many in a long run.
  const weights = (outputs * inputs) / (dimAt(x.shape, 0) * points);
  return weights < 16 || (weights < 48 && elementCount(x.shape) >= 2 ** 16);
}
