import type { Tensor } from "../onnx/tensor.ts";
import type { Random } from "../random.ts";
import type { Adapter, AdapterLayer, AdapterSettings, LoraOptions } from "./adapter.ts";
import type { Layer } from "./layer.ts";
import type { NodeWriter } from "./node-writer.ts";

/** The numbers of an adapter beside one layer, by the last part of their names: `lora_A`, `lora_B`. */
export type AdapterTensors = Readonly<Record<string, Tensor>>;

/** The settings of one adapter, complete. */
export interface LayerSettings extends Required<AdapterSettings> {
  /** Whether the adapter scales the layer's inputs rather than its results (IA³). */
  readonly feedforward?: boolean;
}

/** Gives the weights with which a layer computes: [out, in, …kernel] as numbers in this order. */
export type WeightNumbers = () => Float64Array;

/** A way to adapt a layer: one file each. */
export interface AdapterKind {
  readonly name: string;
  /** The settings that choose this kind. */
  readonly asked: Pick<Required<AdapterSettings>, "dora" | "ia3">;
  /** Why a layer cannot have such an adapter; undefined if it can. */
  refuses(layer: Layer, settings: LayerSettings): string | undefined;
  /** Why an adapter of this kind cannot be merged into a weight that takes other kinds; undefined if it can. */
  stays?(layer: Layer): string | undefined;
  /** What is put beside layers, for a message: `adapters of rank 8`. */
  describes(settings: LayerSettings): string;
  /** Whether the first numbers of the adapter, and its nodes, need the norms of the units' weights. */
  readonly needsNorms?: true;
  /** The numbers with which an adapter begins: the model's outputs stay as they were. */
  fresh(layer: Layer, settings: LayerSettings, random: Random, norms: Float64Array): AdapterTensors;
  /** @throws UsageError if these are not the numbers of an adapter beside the layer */
  check(layer: Layer, tensors: AdapterTensors): void;
  /**
   * Adds the nodes of the adapter: behind the layer, or in front of it.
   * @param parameters - names of the adapter's initializers
   * @param base - the layer's result without the adapter
   * @param result - the name that the layer's result with the adapter gets
   * @param norms - of the units' weights, if the kind needs them
   * @returns for an adapter in front of the layer: the values that the layer's operator then reads, by the values that they replace; its result
   * keeps its name
   */
  write(
    writer: NodeWriter,
    layer: Layer,
    parameters: Readonly<Record<string, string>>,
    settings: LayerSettings,
    about: { readonly base: string; readonly result: string; readonly norms: Float64Array },
  ): Readonly<Record<string, string>> | undefined;
  /**
   * What the adapter adds to the layer's weight: [out, in, …kernel] as numbers in this order.
   * @param share - the factor by which the adapter acts; below 0 it is taken out of the weight again
   */
  change(
    layer: Layer,
    tensors: AdapterTensors,
    settings: LayerSettings,
    weight: WeightNumbers,
    share: number,
  ): Float64Array;
  /**
   * {@link change} unit by unit, if it does not depend on the weight: returns the numbers of one unit, in an array that the
   * next call overwrites.
   */
  rows?(
    layer: Layer,
    tensors: AdapterTensors,
    settings: LayerSettings,
    share: number,
  ): (unit: number) => Float64Array;
  /** What the adapter adds to the layer's bias, if it changes the bias. */
  changeOfBias?(tensors: AdapterTensors, bias: Float64Array, share: number): Float64Array | undefined;
  /** Whether several adapters on one layer act one after the other, each on the weight with those before. */
  readonly compounds?: boolean;
  /** Why a merged adapter cannot be taken out of the weights again; undefined if it can. */
  readonly permanent?: string;
  /** A layer of an adapter, from its module and its numbers; undefined if some are missing. */
  layerFrom(module: string, alpha: number, tensors: AdapterTensors): AdapterLayer | undefined;
  /** The numbers of such a layer. */
  tensorsOf(layer: AdapterLayer): AdapterTensors;
  /** The settings of an adapter for one of its layers. */
  settingsFor(layer: AdapterLayer, common: Required<AdapterSettings>): LayerSettings;
  /** The same layer where alpha is the rank and the scaling that of LoRA. */
  withoutScaling(layer: AdapterLayer, adapter: Adapter): AdapterLayer;
  /** An adapter's settings as options for a run that goes on from it. @param only - a pattern for some of its layers */
  optionsOf(adapter: Adapter, only: (layers: readonly AdapterLayer[]) => RegExp): LoraOptions;
  /** PEFT's configuration of an adapter, without the fields that all kinds have. */
  configOf(adapter: Adapter): Readonly<Record<string, unknown>>;
}
