import { constantValues } from "../analysis/constant-values.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { dependingOnData } from "../analysis/trace-parameter.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { onnx } from "../onnx/schema.js";
import { elementCount, Tensor } from "../onnx/tensor.ts";

type NodeFields = onnx.NodeProto.$Properties;

/** An input of a model and the axis that counts its samples. */
export interface BatchAxis {
  readonly input: Value;
  readonly axis: number;
}

/** Recurrent operators, and the inputs that hold their initial states: [directions, batch, units]. */
const initialStates: Readonly<Record<string, readonly number[]>> = { LSTM: [5, 6], GRU: [5], RNN: [5] };

/**
 * Makes a model's message take any number of samples: its inputs, and the operators into which the exporter wrote the one
 * sample. The rest of the message stays. Whether the graph then computes the same for each sample is for the caller to check.
 *
 *     x [1, 4, 5, 5]; y = Reshape(x, [1, 100])  →  x ["batch", 4, 5, 5]; y = Reshape(x, [-1, 100])
 *     t = Concat([1, 1, 8] constant, h)         →  t = Concat(Expand(constant, [samples of x, 1, 1]), h)
 *     m = GatherND(x, [1, 1, 8, 2] constant)    →  m = GatherND(x, constant + [0, …, samples − 1] on axis 0 of the first number)
 *
 * @param proto - changed in place
 * @param graph - of that message, with the shapes at one sample
 * @param computed - numbers of targets that nodes compute from constants, by name
 * @returns the changed operators, by name
 */
export function carryBatch(
  proto: onnx.ModelProto.$Properties,
  graph: Graph,
  inputs: readonly BatchAxis[],
  computed: ReadonlyMap<string, Tensor>,
): string[] {
  const numbersOf = (value: Value | null | undefined) =>
    (constantTensor(value) ?? (value && computed.get(value.name)))?.numbers();
  const body = proto.graph as onnx.GraphProto.$Properties;
  const data = dependingOnData(graph);
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
  /** A shape in which one length is the number of samples. */
  const withSamples = (shape: readonly number[], axis: number): string => {
    const parts = [shape.slice(0, axis), shape.slice(axis + 1)].map((part) =>
      part.length > 0 ? [constant(part, "lengths")] : [],
    );
    const [before = [], behind = []] = parts;
    const all = [...before, countOfSamples(), ...behind];
    if (all.length === 1) return countOfSamples();
    return add("Concat", all, [
      new onnx.AttributeProto({ name: "axis", type: onnx.AttributeProto.AttributeType.INT, i: 0 as never }),
    ]);
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
    if (shape[0] !== 1 || !isSame(indices, data)) return undefined;
    if (isList ? axis !== place.axis : axis !== 0 || place.axis >= depth || shape.length < 2)
      return undefined;
    const [output] = node.outputs;
    if (output) places.set(output, { axis: isList ? axis : 0, lead: 1 });
    const one = Array.from({ length: depth }, (_, at) => (isList || at === place.axis ? 1 : 0));
    const stepped = add("Mul", [numbersOfSamples(shape.length), constant(one, "step")]);
    // Of samples that are merged with another axis, each has as many numbers as that axis, whose length may be free.
    const whole = () => add("Gather", [add("Shape", [picked?.name ?? ""]), constant([place.axis], "axis")]);
    const further = length === 1 ? stepped : add("Mul", [stepped, add("Div", [whole(), countOfSamples()])]);
    const all = add("Add", [indices.name, further]);
    moved.set(indices.name, all);
    return all;
  };
  const openedShape = (input: Value, target: readonly number[] | undefined, node: Node) => {
    const [output] = node.outputs;
    const place = places.of(input);
    const found = input.shape && output?.shape && placeOfResult(input.shape, place, output.shape);
    if (!found || !output?.shape) return undefined;
    places.set(output, found);
    if (!target) return undefined;
    const sameLength = input.shape?.[place.axis] === output.shape[found.axis];
    const sameAxis = found.axis === place.axis && found.lead === 1 && place.lead === 1 && sameLength;
    const opened = openTarget(target, output.shape, {
      ...{ axis: found.axis, sameAxis, keepsZero: node.int("allowzero", 0) === 1 },
    });
    return opened && constant(opened, "shape");
  };
  for (const node of body.node ?? []) {
    const own = graph.value((node.output ?? []).find((name) => name) ?? "")?.producer;
    const names = own && !node.domain ? changedInputs(own.opType) : undefined;
    if (own && own.opType !== "Reshape") places.pass(own);
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
      if (opType === "Reshape" && first && data.has(first)) {
        return replace(1, openedShape(first, numbersOf(read[1]), own as Node));
      }
      if (opType === "Gather" || opType === "GatherND") return replace(1, own && movedIndices(own));
      if (opType === "Shape") return replace(0, moved.get(first?.name ?? ""));
      if (opType === "Resize" && first && data.has(first) && read[3]) {
        const sizes = numbersOf(read[3]);
        return sizes?.[0] === 1 ? replace(3, withSamples(sizes, 0)) : undefined;
      }
      if (opType === "Concat" && read.some((value) => value && data.has(value))) {
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

/** The targets of Reshape and Resize that nodes compute from constants, as PyTorch writes them without constant folding. */
export function computedTargets(graph: Graph): Value[] {
  const constants = constantValues(graph, new Set());
  const targets = graph.nodes.map(({ op, inputs }) => inputs[{ Reshape: 1, Resize: 3 }[op] ?? -1]);
  return [...new Set(targets)].filter(
    (value): value is Value => !!value && constants.has(value) && !constantTensor(value),
  );
}

/** Whether a value is the same for all samples: it depends on the lengths of the data at most. */
function isSame(value: Value, data: ReadonlySet<Value>): boolean {
  const open = [value];
  const seen = new Set(open);
  for (let one = open.pop(); one; one = open.pop()) {
    const { producer } = one;
    if (!data.has(one) || producer?.op === "Shape" || producer?.op === "Size") continue;
    if (!producer || producer.captures.length > 0) return false;
    for (const input of producer.inputs) {
      if (!input || seen.has(input)) continue;
      seen.add(input);
      open.push(input);
    }
  }
  return true;
}

/** Where a tensor's numbers count samples: an axis, of which that many numbers lie in front of the samples. */
interface Place {
  readonly axis: number;
  readonly lead: number;
}

const product = (shape: readonly number[]): number => elementCount(shape);

/** Follows the samples through a graph, operator by operator, with the shapes at one sample. */
class Places {
  readonly #places = new Map<Value, Place>();

  constructor(inputs: readonly BatchAxis[]) {
    for (const { input, axis } of inputs) this.set(input, { axis, lead: 1 });
  }

  set(value: Value, place: Place): void {
    this.#places.set(value, place);
  }

  /** Where a value counts samples, if that was not lost on the way. */
  known(value: Value): Place | undefined {
    return this.#places.get(value);
  }

  /** Where a value counts samples; if that was lost, on its first axis of length 1, or merged into its first axis. */
  of(value: Value): Place {
    return this.#places.get(value) ?? { axis: Math.max(value.shape?.indexOf(1) ?? 0, 0), lead: 1 };
  }

  /** Passes places on to results that have the same axis, and to those of Flatten, whose numbers stay in order. */
  pass(node: Node): void {
    if (node.op === "Flatten") {
      const [from] = node.inputs;
      const [to] = node.outputs;
      const place = from && this.#places.get(from);
      const found = place && from.shape && to?.shape && placeOfResult(from.shape, place, to.shape);
      if (to && found) this.set(to, found);
      return;
    }
    const perm = node.opType === "Transpose" && node.attributes.get("perm");
    for (const input of node.inputs) {
      const place = input && this.#places.get(input);
      if (!place || !input.shape) continue;
      const axis = perm && perm.kind === "ints" ? perm.value.indexOf(place.axis) : place.axis;
      for (const output of node.outputs) {
        const isSame = output?.shape?.length === input.shape.length;
        if (output && isSame && output.shape?.[axis] === input.shape[place.axis] && !this.#places.has(output))
          this.set(output, { ...place, axis });
      }
    }
  }
}

/**
 * Where the result of a Reshape counts samples. Numbers stay in order, so that is where as many numbers lie in front of them as
 * in the input: on an axis of length 1, or merged into another one. Between two axes, samples belong to the one behind
 * (batch · heads) if the result has as many axes as the input or more, else to the one in front (tokens · batch).
 */
function placeOfResult(from: readonly number[], place: Place, to: readonly number[]): Place | undefined {
  const lead = product(from.slice(0, place.axis)) * place.lead;
  const before = (axis: number) => product(to.slice(0, axis));
  const alone = to.findIndex((length, axis) => length === 1 && before(axis) === lead);
  if (alone >= 0) return { axis: alone, lead: 1 };
  const axis = to.findIndex((length, at) => before(at) <= lead && lead < before(at) * length);
  const found = axis < 0 ? to.length - 1 : axis;
  if (found < 0 || lead % before(found) !== 0) return undefined;
  const isBetween = found > 0 && before(found) === lead;
  return isBetween && to.length < from.length
    ? { axis: found - 1, lead: to[found - 1] ?? 1 }
    : { axis: found, lead: lead / before(found) };
}

/**
 * The target of a Reshape with the length that counts samples open; undefined if it is so already.
 * @param keepsZero - 0 is a length of the result, not one of the input
 */
function openTarget(
  target: readonly number[],
  result: readonly number[],
  {
    axis,
    keepsZero,
    sameAxis,
  }: { readonly axis: number; readonly keepsZero: boolean; readonly sameAxis: boolean },
): readonly number[] | undefined {
  if (target[axis] === -1 || target[axis] === 0) return undefined;
  if (!target.includes(-1)) return target.with(axis, -1);
  // Another length is open already: 0 repeats the input's.
  return sameAxis && !keepsZero ? target.with(axis, 0) : result.with(axis, -1);
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
