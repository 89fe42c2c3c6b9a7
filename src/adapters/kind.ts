import type { Random } from "../onnx/random-tensors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { AdapterSettings } from "./adapter.ts";
import type { Layer } from "./layers.ts";
import type { NodeWriter } from "./node-writer.ts";

/** The numbers of an adapter beside one layer, by the last part of their names: `lora_A`, `lora_B`. */
export type AdapterTensors = Readonly<Record<string, Tensor>>;

/** The settings of one adapter, complete. */
export type LayerSettings = Required<AdapterSettings>;

/** Gives the weights with which a layer computes: [out, in, …kernel] as numbers in this order. */
export type WeightNumbers = () => Float64Array;

/** A way to adapt a layer: one file each. */
export interface AdapterKind {
  readonly name: string;
  /** PEFT's `peft_type`. */
  readonly peftType: string;
  /** Why a layer cannot have such an adapter; undefined if it can. */
  refuses(layer: Layer): string | undefined;
  /** The numbers with which an adapter begins: the model's outputs stay as they were. */
  fresh(layer: Layer, settings: LayerSettings, random: Random, weight: WeightNumbers): AdapterTensors;
  /** @throws UsageError if these are not the numbers of an adapter beside the layer */
  check(layer: Layer, tensors: AdapterTensors): void;
  /**
   * Adds the nodes of the adapter.
   * @param base - the layer's result without the adapter
   * @param parameters - names of the adapter's initializers
   * @param result - the name that the layer's result with the adapter gets
   */
  write(
    writer: NodeWriter,
    layer: Layer,
    parameters: Readonly<Record<string, string>>,
    settings: LayerSettings,
    names: { readonly base: string; readonly result: string },
  ): void;
  /** What the adapter adds to the layer's weight: [out, in, …kernel] as numbers in this order. */
  change(layer: Layer, tensors: AdapterTensors, settings: LayerSettings, weight: WeightNumbers): Float64Array;
  /** Why a merged adapter cannot be taken out of the weights again; undefined if it can. */
  readonly permanent?: string;
}
