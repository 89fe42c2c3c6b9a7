import { drawingOperators } from "../../analysis/drawing-operators.ts";
import { isShared, type NarrowCut, narrowCuts } from "../../analysis/narrow-cuts.ts";
import { UsageError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Use, Value } from "../../graph/node.ts";
import { ancestorsOf, descendantsOf } from "../../graph/reach.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";
import { bytesOf, dependents, late } from "./late.ts";

/**
 * Keeps only the outputs of segments of the forward pass and computes the rest again, segment by segment, when the gradient
 * arrives at its end ("Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174). Numbers stay the same, bit for bit.
 *
 *     a = f(x); b = g(a); c = h(b); …; da = G(db, a)  →  …; x' = x − 0·dc; a' = f(x'); da = G(db, a')
 *
 * Segments end at narrow cuts ({@link narrowCuts}). Where a segment's gradient arrives last, behind the last cut, everything is
 * kept, because it is needed at once.
 */
export const checkpointSegments = definePass({
  name: "checkpoint-segments",
  options: {
    /** "block": at the cuts that make the peak smallest; a number N: at every N-th cut. */
    every: "block" as "block" | number,
    /** Nodes of the gradients, each with the gradient at whose arrival it was emitted. */
    arrivals: new Map() as ReadonlyMap<Node, Typed>,
    /** The values with respect to which the loss is differentiated, with their gradients. */
    gradients: new Map() as ReadonlyMap<Value, Typed>,
    /** Weights: nothing that is computed from them alone is computed again. */
    weights: new Set() as ReadonlySet<Value>,
    /** The values at which gradients enter. */
    seeds: [] as readonly Value[],
    /** Whether a graph in which nothing is computed again is an error. */
    required: false,
  },
  run(graph, options, { emit, onMessage }) {
    const { segments, values, bytes } = new Checkpoints(graph, emit, options).write();
    if (segments === 0) {
      if (options.required) throw new UsageError(withoutEffect(options.every));
      return unchanged("no segment of the forward pass is computed again");
    }
    const detail = `${counted(segments, "segment")} of the forward pass (${values} activations, ${(bytes / 2 ** 20).toFixed(1)} MiB) ${segments === 1 ? "is" : "are"} computed again instead of kept`;
    onMessage?.(`checkpoint-every: ${detail}`);
    return changed(detail);
  },
});

const withoutEffect = (every: "block" | number): string =>
  every === "block"
    ? "checkpointEvery (--checkpoint-every) would save no memory: the part of the forward pass above the first trained weight has no place through which everything passes, or too little before it; leave it out, or try recompute (--recompute)"
    : `checkpointEvery (--checkpoint-every ${every}) has no effect: above the first trained weight there are fewer than ${every} places through which everything passes, or nothing between them that the backward pass reads; give a smaller number, or leave it out`;

interface Parts {
  readonly every: "block" | number;
  readonly arrivals: ReadonlyMap<Node, Typed>;
  readonly gradients: ReadonlyMap<Value, Typed>;
  readonly weights: ReadonlySet<Value>;
  readonly seeds: readonly Value[];
}

/** The forward pass in segments, of which all but the last are computed again. */
class Checkpoints {
  readonly #graph: Graph;
  readonly #emit: Emit;
  readonly #arrivals: ReadonlyMap<Node, Typed>;
  /** Nodes that depend on a gradient. */
  readonly #backward: ReadonlySet<Node>;
  /** What depends on data and on a variable, and so may be computed again. */
  readonly #flowing: ReadonlySet<Value>;
  /** The segment of each value that is not kept. */
  readonly #segmentOf = new Map<Value, number>();
  readonly #position: ReadonlyMap<Node, number>;
  readonly #count: number;
  /** Results for which no segment has waited yet. */
  readonly #waiting: Set<Typed>;
  /** What depends on data. */
  readonly #data: ReadonlySet<Value>;
  readonly #forward: ReadonlySet<Node>;

  constructor(graph: Graph, emit: Emit, { every, arrivals, gradients, weights, seeds }: Parts) {
    this.#graph = graph;
    this.#emit = emit;
    this.#arrivals = arrivals;
    this.#waiting = new Set(gradients.values());
    const order = graph.sorted();
    this.#position = new Map(order.map((node, at) => [node, at]));
    this.#backward = dependents(order, new Set(arrivals.values()));
    this.#data = descendantsOf(graph.inputs.filter((input) => !weights.has(input)));
    const variable = descendantsOf(gradients.keys());
    const known = (node: Node) => node.outputs.every((value) => !value || (value.type && value.shape));
    this.#flowing = new Set(
      order.flatMap((node) =>
        this.#backward.has(node) ||
        node.captures.length > 0 ||
        drawingOperators.has(node.opType) ||
        !known(node)
          ? []
          : node.outputs.flatMap((value) =>
              value && this.#data.has(value) && variable.has(value) ? [value] : [],
            ),
      ),
    );
    // Ends are what the gradients enter at: penalties and their gradients lie beside the forward pass.
    const before = ancestorsOf(seeds);
    const forward = order.filter(
      (node) => before.has(node) && node.outputs.some((value) => value && this.#flowing.has(value)),
    );
    this.#forward = new Set(forward);
    const cuts = narrowCuts(forward, new Set(seeds)).filter(({ value }) => isFloat(value.type));
    const kept = this.#chosen(forward, cuts, every);
    this.#count = kept.length;
    this.#assign(forward, kept);
  }

  /** The cuts at which segments end. */
  #chosen(
    forward: readonly Node[],
    cuts: readonly NarrowCut[],
    every: "block" | number,
  ): readonly NarrowCut[] {
    if (every !== "block") return cuts.filter((_, i) => (i + 1) % every === 0);
    // Bytes of what the backward pass reads, by the place where it is computed.
    const inner = forward.map((node) =>
      node.outputs.reduce((sum, value) => sum + (value && this.#isKept(value) ? bytesOf(value) : 0), 0),
    );
    return chooseSegments(
      cuts.map(({ value, at }) => ({ at, bytes: bytesOf(value) })),
      inner,
    ).flatMap((i) => cuts[i] ?? []);
  }

  /** Whether the backward pass reads a value, directly or through nodes that only it needs. */
  #isKept(value: Value): boolean {
    return [...value.uses].some(({ node }) => this.#backward.has(node) || this.#arrivals.has(node));
  }

  /** Puts every value in front of the last cut into its segment, unless it is kept. */
  #assign(forward: readonly Node[], kept: readonly NarrowCut[]): void {
    const stays = new Set(kept.map(({ value }) => value));
    let segment = 0;
    for (const [at, node] of forward.entries()) {
      while (segment < kept.length && at > (kept[segment]?.at ?? 0)) segment += 1;
      if (segment === kept.length) return;
      for (const value of node.outputs) {
        if (value && this.#flowing.has(value) && !stays.has(value) && !isShared(value, this.#forward))
          this.#segmentOf.set(value, segment);
      }
    }
  }

  /** Writes the recomputation. @returns how many segments are computed again, and what need not be kept any more */
  write(): { readonly segments: number; readonly values: number; readonly bytes: number } {
    const reads = this.#reads();
    const read = [...this.#segmentOf.keys()].filter((value) => this.#isKept(value));
    let [segments, values, bytes] = [0, 0, 0];
    // From the end of the network on, in the order in which gradients arrive.
    for (let segment = this.#count - 1; segment >= 0; segment--) {
      const uses = reads.get(segment) ?? [];
      const after = uses.length > 0 ? this.#arrivalBefore(uses.map(({ node }) => node)) : [];
      if (after.length === 0) continue;
      const again = new Map<Value, Value>();
      let written = false;
      for (const use of uses) {
        const value = use.node.inputs[use.index] as Value;
        const copy = this.#again(value, after, again);
        if (copy === value) continue;
        this.#graph.setInput(use, copy);
        written = true;
      }
      if (!written) continue;
      segments += 1;
      const spared = read.filter(
        (value) => this.#segmentOf.get(value) === segment && again.get(value) !== value,
      );
      values += spared.length;
      bytes += spared.reduce((sum, value) => sum + bytesOf(value), 0);
    }
    return { segments, values, bytes };
  }

  /** What the backward pass reads of each segment. */
  #reads(): Map<number, Use[]> {
    const reads = new Map<number, Use[]>();
    for (const node of this.#backward) {
      node.inputs.forEach((value, index) => {
        const segment = value ? this.#segment(value) : undefined;
        if (segment === undefined) return;
        const list = reads.get(segment) ?? [];
        list.push({ node, index });
        reads.set(segment, list);
      });
    }
    return reads;
  }

  readonly #segments = new Map<Value, number | undefined>();

  /** The segment of a value that is not kept, or that is computed from such values beside the forward pass. */
  #segment(value: Value): number | undefined {
    const own = this.#segmentOf.get(value);
    if (own !== undefined) return own;
    if (!this.#flowing.has(value) || !value.producer || this.#forward.has(value.producer)) return undefined;
    if (this.#segments.has(value)) return this.#segments.get(value);
    const found = value.producer.inputs.flatMap((input) => (input && this.#segment(input)) ?? []);
    const segment = found.length > 0 ? Math.max(...found) : undefined;
    this.#segments.set(value, segment);
    return segment;
  }

  /**
   * What a segment waits for: the latest gradient on the way to the nodes that read it, on which none of them has an influence, and
   * the gradients of the weights behind it. ONNX Runtime would compute those at the very end, and keep what they are made of.
   */
  #arrivalBefore(nodes: readonly Node[]): readonly Typed[] {
    const results = nodes.flatMap(({ outputs }) => outputs.flatMap((output) => output ?? []));
    const influenced = descendantsOf(results);
    const read = new Set(nodes.flatMap(({ inputs }) => inputs.flatMap((input) => input ?? [])));
    const before = ancestorsOf(read);
    let latest: Typed | undefined;
    for (const arrival of new Set(this.#arrivals.values())) {
      const { producer } = arrival;
      const leads = producer ? before.has(producer) : read.has(arrival);
      if (!leads || influenced.has(arrival)) continue;
      if (!latest || this.#at(arrival) > this.#at(latest)) latest = arrival;
    }
    if (!latest) return [];
    const done = [...this.#waiting].filter(
      (gradient) =>
        gradient.producer && this.#graph.value(gradient.name) === gradient && !influenced.has(gradient),
    );
    for (const gradient of done) this.#waiting.delete(gradient);
    return [...new Set([latest, ...done])];
  }

  #at({ producer }: Value): number {
    return producer ? (this.#position.get(producer) ?? -1) : -1;
  }

  /** The value once more, from kept values that wait for the gradient; itself where nothing can wait. */
  #again(value: Value, after: readonly Typed[], again: Map<Value, Value>): Value {
    const known = again.get(value);
    if (known) return known;
    const node = value.producer as Node;
    const waiting = (input: Value) => late(this.#emit, typed(input), after);
    const inputs = node.inputs.map((input) => {
      if (!input || !this.#flowing.has(input)) return input;
      const copy = this.#segment(input) === undefined ? input : this.#again(input, after, again);
      return copy === input ? waiting(input) : copy;
    });
    if (inputs.every((input, i) => input === node.inputs[i])) {
      // The first layer reads data alone; of token numbers nothing is computed late, and their embedding is kept.
      const data = inputs.findIndex((input) => input && this.#data.has(input) && isFloat(input.type));
      const input = inputs[data];
      if (!input) {
        again.set(value, value);
        return value;
      }
      inputs[data] = waiting(input);
    }
    this.#copy(node, inputs, again);
    return again.get(value) as Value;
  }

  /** Adds a node like another one, and notes which of its results stand for which. */
  #copy(node: Node, inputs: readonly (Value | null)[], again: Map<Value, Value>): void {
    const graph = this.#graph;
    const stem = graph.freshName(`${this.#emit.options.prefix}again/${node.opType}`);
    const { opType, domain, overload, attributes, outputs } = node;
    const copy = graph.addNode({
      ...{ opType, domain, overload, attributes, inputs },
      outputs: outputs.map((output, i) => output && (i === 0 ? stem : graph.freshName(`${stem}.${i}`))),
    });
    graph.nameNode(copy, stem);
    outputs.forEach((output, i) => {
      const made = copy.outputs[i];
      if (!output || !made) return;
      made.type = output.type;
      made.shape = output.shape;
      again.set(output, made);
    });
  }
}

/** A place where the forward pass can be cut. */
interface Place {
  /** Position of the node behind which it lies. */
  readonly at: number;
  /** Bytes of the value that is kept there. */
  readonly bytes: number;
}

/**
 * The places at which a forward pass is cut so that the peak of its memory is smallest: the values kept at the places, and what
 * is kept inside the largest segment while the gradients of that segment are computed. For equal layers these are about √n
 * segments of n layers; where a place is much narrower than the layers before it, every place.
 * @param inner - bytes that the backward pass reads of each node's results
 * @returns indices of places, in order; none if cutting saves nothing
 */
export function chooseSegments(places: readonly Place[], inner: readonly number[]): readonly number[] {
  const sums = [0];
  for (const bytes of inner) sums.push((sums.at(-1) ?? 0) + bytes);
  const between = (from: number, to: number) => (sums[to] ?? 0) - (sums[from] ?? 0);
  const whole = between(0, inner.length);
  let best: readonly number[] = [];
  let least = whole;
  for (let count = 2; count <= places.length + 1; count++) {
    const chosen = segmentsUpTo(whole / count, places, between, inner.length);
    const starts = [0, ...chosen.map((i) => (places[i]?.at ?? 0) + 1)];
    const sizes = starts.map((start, i) => between(start, starts[i + 1] ?? inner.length));
    const peak = chosen.reduce((sum, i) => sum + (places[i]?.bytes ?? 0), 0) + Math.max(...sizes);
    if (peak < least) [best, least] = [chosen, peak];
  }
  return best;
}

/** The fewest places that leave no segment larger than `most`, where they lie close enough. */
function segmentsUpTo(
  most: number,
  places: readonly Place[],
  between: (from: number, to: number) => number,
  end: number,
): number[] {
  const chosen: number[] = [];
  let start = 0;
  for (const [i, { at }] of places.entries()) {
    const next = places[i + 1]?.at ?? end - 1;
    if (between(start, next + 1) <= most * 1.001) continue;
    chosen.push(i);
    start = at + 1;
  }
  return chosen;
}
