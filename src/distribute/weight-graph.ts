import { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** What is fed into an input: a trained tensor by its name in checkpoints, or the numbers that stand in the place of the result. */
type WeightRead = { readonly state: string } | { readonly base: true };

/** A graph that computes a weight of the trained model, in float64. */
export interface WeightGraph {
  readonly model: Model;
  /** By input. */
  readonly reads: Readonly<Record<string, WeightRead>>;
}

/** Where the numbers of a graph come from. */
export interface WeightSources {
  /** The input of a step that holds a trained tensor; undefined for one that is not trained. */
  readonly stateOf: (name: string) => string | undefined;
  /** A stored tensor. */
  readonly tensorOf: (name: string) => Tensor;
}

/** Builds a {@link WeightGraph}: operands in, one weight out. Every sum has the order in which sorth-onnx itself adds. */
export class WeightGraphBuilder {
  readonly graph = new Graph("weight", new Map([["", 18]]));
  readonly g = new Emit(this.graph, { prefix: "" });
  readonly #sources: WeightSources;
  readonly #base: string;
  readonly #reads: Record<string, WeightRead> = {};

  /** @param base - the tensor whose numbers stand in the place of the result */
  constructor(sources: WeightSources, base: string) {
    this.#sources = sources;
    this.#base = base;
  }

  /** A tensor in float64. @param role - the name of the graph's input */
  operand(role: string, name: string): Typed {
    const { type, dims } = this.#sources.tensorOf(name);
    const state = this.#sources.stateOf(name);
    if (state === undefined && name !== this.#base) {
      return this.g.numbers(this.#sources.tensorOf(name).numbers(), dims, "double");
    }
    this.#reads[role] = state === undefined ? { base: true } : { state };
    return this.g.cast(this.graph.addInput(role, type === "double" ? type : "float", dims), "double");
  }

  number(value: number): Typed {
    return this.g.scalar(value, "double");
  }

  /** The graph, with its result in a shape. */
  done(result: Typed, dims: readonly number[]): WeightGraph {
    this.graph.addOutput(this.g.op("Identity", [this.g.reshape(result, dims)], dims));
    this.graph.prune();
    return { model: modelOf(this.graph, {}, { irVersion: 9 }), reads: this.#reads };
  }
}
