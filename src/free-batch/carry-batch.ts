import { constantValues } from "../analysis/constant-values.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { dependingOnData } from "../analysis/trace-parameter.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { onnx } from "../onnx/schema.js";
import { Tensor } from "../onnx/tensor.ts";
import { type BatchAxis, openTarget, Places, placeOfResult } from "./places.ts";

type NodeFields = onnx.NodeProto.$Properties;

/** Recurrent operators, and the inputs that hold their initial states: [directions, batch, units]. */
const initialStates: Readonly<Record<string, readonly number[]>> = { LSTM: [5, 6], GRU: [5], RNN: [5] };

/** Operators on two values of which the heads of one may have to be repeated for the samples that are merged with those of the other. */
const pairwise = new Set(["MatMul", "GatherElements", "Add", "Sub", "Mul", "Div"]);

/**
 * Makes a model's message take any number of samples: its inputs, and the operators into which the exporter wrote the one
 * sample. The rest of the message stays. Whether the graph then computes the same for each sample is for the caller to check.
 *
 *     x [1, 4, 5, 5]; y = Reshape(x, [1, 100])  →  x ["batch", 4, 5, 5]; y = Reshape(x, [-1, 100])
 *     t = Concat([1, 1, 8] constant, h)         →  t = Concat(Expand(constant, [samples of x, 1, 1]), h); GatherElements likewise
 *     m = GatherND(x, [1, 1, 8, 2] constant)    →  m = GatherND(x, constant + [0, …, samples − 1] on axis 0 of the first number)
 *     s = MatMul([1 · 4, 8, 8] of x, [4, 8, 9]) →  s = MatMul([samples · 4, 8, 8], Tile([4, 8, 9], [samples of x, 1, 1]))
 *     y = Reshape(x, Concat(1, tokens, 4))      →  y = Reshape(x, Concat(samples of x, tokens, 4))
 *
 * @param proto - changed in place
 * @param graph - of that message, with the shapes at one sample
 * @param computed - numbers of targets that nodes compute from constants, by name
 * @param lengthsAreFree - whether the file leaves other lengths free: those of `graph` are then not written into it
 * @returns the changed operators, by name
 */
export function carryBatch(
  proto: onnx.ModelProto.$Properties,
  graph: Graph,
  inputs: readonly BatchAxis[],
  {
    computed,
    lengthsAreFree,
  }: { readonly computed: ReadonlyMap<string, Tensor>; readonly lengthsAreFree: boolean },
): string[] {
  const numbersOf = (value: Value | null | undefined) =>
    (constantTensor(value) ?? (value && computed.get(value.name)))?.numbers();
  const body = proto.graph as onnx.GraphProto.$Properties;
  const data = dependingOnData(graph);
  const lengths = dependingOnLengths(graph, data);
  /** Those of them that number the samples: a Range as long as there are samples goes into them. */
  const numbering = new Set<Value>();
  const changed: string[] = [];
  const nodes: NodeFields[] = [];
  const initializers: onnx.TensorProto.$Properties[] = [];
  const fresh = (stem: string): string => {
    const { name } = graph.reference(graph.freshName(`batch/${stem}`));
    return name;
  };
  const constant = (values: readonly number[], stem: string): string => {
    const tensor = Tensor.int64(fresh(stem), [values.length], values);
    initializers.push(tensor.toProto());
    return tensor.name;
  };
  const add = (
    opType: string,
    input: string[],
    attribute: onnx.AttributeProto.$Properties[] = [],
  ): string => {
    const output = fresh(opType);
    nodes.push(new onnx.NodeProto({ opType, name: output, input, output: [output], attribute }));
    return output;
  };
  let samples: string | undefined;
  /** The number of samples, as a vector of one number. */
  const countOfSamples = (): string => {
    const [first] = inputs as [BatchAxis];
    samples ??= add("Gather", [add("Shape", [first.input.name]), constant([first.axis], "axis")]);
    return samples;
  };
  const joined = (parts: string[]): string =>
    add("Concat", parts, [
      new onnx.AttributeProto({ name: "axis", type: onnx.AttributeProto.AttributeType.INT, i: 0 as never }),
    ]);
  /** A shape in which one length is multiplied by the number of samples. */
  const withSamples = (shape: readonly number[], axis: number): string => {
    const [before = [], behind = []] = [shape.slice(0, axis), shape.slice(axis + 1)].map((part) =>
      part.length > 0 ? [constant(part, "lengths")] : [],
    );
    const each = shape[axis] ?? 1;
    const count = each === 1 ? countOfSamples() : add("Mul", [countOfSamples(), constant([each], "each")]);
    const all = [...before, count, ...behind];
    return all.length === 1 ? count : joined(all);
  };
  /** The same for a shape that a Concat joins of lengths known when the model runs, if it writes down the one sample. */
  const joinedWithSamples = (shape: Value | null | undefined, axis: number): string | undefined => {
    const parts = shape?.producer?.op === "Concat" ? shape.producer.inputs : [];
    let start = 0;
    for (const [at, part] of parts.entries()) {
      const length = part?.shape?.[0];
      if (length === undefined) return undefined;
      const numbers = axis < start + length ? numbersOf(part) : undefined;
      if (numbers && (numbers[axis - start] ?? 0) > 0) {
        return joined(
          parts.map((one, i) => (i === at ? withSamples([...numbers], axis - start) : (one?.name ?? ""))),
        );
      }
      if (axis < start + length) return undefined;
      start += length;
    }
    return undefined;
  };
  const repeated = (name: string, rank: number, axis: number): string =>
    add("Expand", [
      name,
      withSamples(
        Array.from({ length: rank }, () => 1),
        axis,
      ),
    ]);

  /** 0, 1, … for the samples, on the first axis of a tensor of that rank. */
  const numbersOfSamples = (rank: number): string => {
    const scalar = (value: number) => {
      const tensor = Tensor.int64(fresh("number"), [], [value]);
      initializers.push(tensor.toProto());
      return tensor.name;
    };
    const range = add("Range", [scalar(0), add("Gather", [countOfSamples(), scalar(0)]), scalar(1)]);
    return add("Reshape", [range, constant([-1, ...new Array<number>(rank - 1).fill(1)], "shape")]);
  };

  const places = new Places(inputs);
  /** Indices with the number of the sample, by the name of those without. */
  const moved = new Map<string, string>();
  /**
   * The indices with which a Gather or GatherND takes numbers of the one sample, moved on by its length for each further one.
   * Transformers 5 looks up its attention mask so. Undefined where the node picks along other axes.
   */
  const movedIndices = (node: Node): string | undefined => {
    const [picked, indices] = node.inputs;
    const place = picked ? places.known(picked) : undefined;
    const length = place && picked?.shape?.[place.axis];
    const { shape = [], type } = indices ?? {};
    const isList = node.opType === "Gather";
    // GatherND: how many axes a row of numbers picks from.
    const depth = isList ? 1 : (shape.at(-1) ?? 0);
    const first = isList ? node.int("axis", 0) : node.int("batch_dims", 0);
    const axis = first < 0 ? first + (picked?.shape?.length ?? 0) : first;
    if (!indices || length === undefined || place?.lead !== 1 || type !== "int64") return undefined;
    if (shape[0] !== 1 || (data.has(indices) && !lengths.has(indices))) return undefined;
    if (isList ? axis !== place.axis : axis !== 0 || place.axis >= depth || shape.length < 2)
      return undefined;
    const [output] = node.outputs;
    if (output) places.set(output, { axis: isList ? axis : 0, lead: 1 });
    if (numbering.has(indices)) return undefined;
    const one = Array.from({ length: depth }, (_, at) => (isList || at === place.axis ? 1 : 0));
    const stepped = add("Mul", [numbersOfSamples(shape.length), constant(one, "step")]);
    // Of samples that are merged with another axis, each has as many numbers as that axis, whose length may be free.
    const whole = () => add("Gather", [add("Shape", [picked?.name ?? ""]), constant([place.axis], "axis")]);
    const further = length === 1 ? stepped : add("Mul", [stepped, add("Div", [whole(), countOfSamples()])]);
    const all = add("Add", [indices.name, further]);
    moved.set(indices.name, all);
    return all;
  };
  /** Whether a value is the same for all samples and has the axis of heads into which the samples of the other are merged. */
  const isPerHead = (value: Value, other: Value | null | undefined): boolean => {
    const place = other && places.known(other);
    const same = !data.has(value) || (lengths.has(value) && !numbering.has(value));
    const [heads = 1] = value.shape ?? [];
    const fits = value.shape?.length === other?.shape?.length && other?.shape?.[0] === heads;
    return same && fits && heads > 1 && place?.axis === 0 && place.lead === 1;
  };
  const numbers = ({ op, inputs, outputs }: Node): boolean =>
    op === "Range"
      ? places.counts(inputs[1], numbersOf)
      : outputs.some((one) => one && lengths.has(one)) &&
        op !== "Shape" &&
        op !== "Size" &&
        inputs.some((one) => one && numbering.has(one));
  const openedShape = (input: Value, shape: Value | null | undefined, node: Node) => {
    const [output] = node.outputs;
    const place = places.of(input);
    const found = input.shape && output?.shape && placeOfResult(input.shape, place, output.shape);
    if (!found || !output?.shape) return undefined;
    places.set(output, found);
    const target = numbersOf(shape);
    if (!target) return joinedWithSamples(shape, found.axis);
    const sameLength = input.shape?.[place.axis] === output.shape[found.axis];
    const sameAxis = found.axis === place.axis && found.lead === 1 && place.lead === 1 && sameLength;
    const repeats = sameAxis && node.int("allowzero", 0) === 0;
    // The result's other lengths hold for the ones that were given.
    const stays = lengthsAreFree && target.includes(-1) && !repeats && (target[found.axis] ?? 0) > 0;
    if (stays) return withSamples([...target], found.axis);
    const opened = openTarget(target, output.shape, found.axis, repeats);
    return opened && constant(opened, "shape");
  };
  for (const node of body.node ?? []) {
    const own = graph.value((node.output ?? []).find((name) => name) ?? "")?.producer;
    const names = own && !node.domain ? changedInputs(own.opType) : undefined;
    if (own && own.opType !== "Reshape") places.pass(own);
    if (own && numbers(own)) for (const output of own.outputs) if (output) numbering.add(output);
    if (names && own) {
      changed.push(own.label);
      node.input = names;
    }
    nodes.push(node);
    function changedInputs(opType: string): string[] | undefined {
      const list = [...(node.input ?? [])];
      const replace = (index: number, name: string | undefined) => {
        if (name === undefined) return undefined;
        list[index] = name;
        return list;
      };
      const read = own?.inputs ?? [];
      const [first] = read;
      const holdsSamples = first && (lengths.has(first) ? numbering.has(first) : data.has(first));
      if (opType === "Reshape" && holdsSamples) {
        return replace(1, openedShape(first, read[1], own as Node));
      }
      if (opType === "Gather" || opType === "GatherND") return replace(1, own && movedIndices(own));
      if (opType === "Shape") return replace(0, moved.get(first?.name ?? ""));
      if (opType === "Resize" && first && data.has(first) && read[3]) {
        const sizes = numbersOf(read[3]);
        if (!sizes) return replace(3, joinedWithSamples(read[3], 0));
        return sizes[0] === 1 ? replace(3, withSamples(sizes, 0)) : undefined;
      }
      if (pairwise.has(opType) && own) {
        const index = read.findIndex((value, at) => value && read[1 - at] && isPerHead(value, read[1 - at]));
        const value = read[index];
        if (value?.shape && !(opType === "GatherElements" && own.int("axis", 0) === 0)) {
          const ones = value.shape.map(() => 1);
          return replace(index, add("Tile", [value.name, withSamples(ones, 0)]));
        }
      }
      const joins = opType === "Concat" || opType === "GatherElements";
      if (joins && read.some((value) => value && data.has(value))) {
        const axis = own?.int("axis", 0) ?? 0;
        let any = false;
        read.forEach((value, index) => {
          const { shape } = value ?? {};
          if (
            !value ||
            data.has(value) ||
            !shape ||
            shape[0] !== 1 ||
            axis === 0 ||
            axis + shape.length === 0
          )
            return;
          list[index] = repeated(value.name, shape.length, 0);
          any = true;
        });
        return any ? list : undefined;
      }
      const states = (initialStates[opType] ?? []).filter((index) => {
        const value = read[index];
        return value && !data.has(value) && value.shape?.[1] === 1 && own?.int("layout", 0) === 0;
      });
      for (const index of states) list[index] = repeated(read[index]?.name ?? "", 3, 1);
      return states.length > 0 ? list : undefined;
    }
  }
  body.node = nodes;
  body.initializer = [...(body.initializer ?? []), ...initializers];
  openInterface(body, inputs);
  return changed;
}

/** The targets of Reshape and Resize, and parts of them, that nodes compute from constants, as PyTorch writes them without constant folding. */
export function computedTargets(graph: Graph): Value[] {
  const constants = constantValues(graph, new Set());
  const targets = graph.nodes.flatMap(({ op, inputs }) => {
    const target = inputs[{ Reshape: 1, Resize: 3 }[op] ?? -1];
    return target?.producer?.op === "Concat" ? [target, ...target.producer.inputs] : [target];
  });
  return [...new Set(targets)].filter(
    (value): value is Value => !!value && constants.has(value) && !constantTensor(value),
  );
}

/** Values that depend on the lengths of the data, not on its numbers: the same for all samples, unless they count them. */
function dependingOnLengths(graph: Graph, data: ReadonlySet<Value>): ReadonlySet<Value> {
  const found = new Set<Value>();
  for (const { op, inputs, outputs, captures } of graph.sorted()) {
    const ofData = inputs.filter((input) => input && data.has(input)) as Value[];
    const isLength =
      op === "Shape" || op === "Size" || (captures.length === 0 && ofData.every((one) => found.has(one)));
    if (ofData.length > 0 && isLength) for (const output of outputs) if (output) found.add(output);
  }
  return found;
}

/** Declares the batch of the inputs open, and forgets shapes that were written down for one sample. */
function openInterface(body: onnx.GraphProto.$Properties, inputs: readonly BatchAxis[]): void {
  for (const info of body.input ?? []) {
    const found = inputs.find(({ input }) => input.name === info.name);
    const dim = found && info.type?.tensorType?.shape?.dim?.[found.axis];
    if (!dim) continue;
    delete dim.dimValue;
    dim.dimParam = "batch";
  }
  for (const info of body.output ?? []) delete info.type?.tensorType?.shape;
  body.valueInfo = (body.valueInfo ?? []).filter(({ metadataProps }) => metadataProps?.length);
  for (const info of body.valueInfo) delete info.type?.tensorType?.shape;
}
