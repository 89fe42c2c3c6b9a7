import type { Model } from "../onnx/model.ts";
import type { Adapter, AddAdaptersOptions, WeightedAdapter } from "./adapter.ts";
import type { OnnxAdapterFiles } from "./adapter-inputs.ts";
import type { MergeOptions } from "./merge-layers.ts";
import type { AdapterFiles } from "./peft-file.ts";

/** The functions of {@link Library} that put adapters beside the layers of a model, and fold them in. */
export interface AdapterFunctions {
  /**
   * Puts fresh LoRA adapters beside the layers of a model (with `dora` or `ia3` those kinds): Y + (alpha/rank)·x·Aᵀ·Bᵀ, with
   * A: [rank, in] and B: [out, rank] as initializers `<weight>.lora_A` and `<weight>.lora_B`. B begins with zeros, so the outputs stay as they were. Every other
   * byte stays, opset and IR version too, and `mergeAdapters` takes the nodes out again. A `Trainer` of such a model trains
   * the adapters alone: the base is frozen.
   *
   * @param model - its layers are Gemm, MatMul, Conv, ConvTranspose, MatMulNBits, com.microsoft.Attention, or Gather of a table's rows; quantized weights stay as they are
   * @param options - rank, alpha, dropout, and which layers
   * @returns a model of views of the old bytes with the new records between them
   * @throws UsageError for numbers out of range, a pattern that matches no layer, or a model with adapters; SorthError for an
   *   injected model
   *
   * @example
   * import { addAdapters, readModel, writeModel } from "sorth-onnx";
   *
   * const adapted = await addAdapters(await readModel("model.onnx"), { rank: 4, alpha: 8, include: /fc/ });
   * await writeModel(adapted, "adapted.onnx");
   */
  addAdapters(model: Model, options?: AddAdaptersOptions): Promise<Model>;

  /**
   * Folds adapters into the weights of a model: W + (alpha/rank)·BA, rounded once to the weight's type. Of the file only the
   * records of these weights change. Several adapters add up, each with its weight; factors of IA³ multiply, in the order given.
   *
   * @param model - a model with adapters beside its layers, which become one with its weights, or one without
   * @param adapters - adapters from files, for a model without them or in addition to its own
   * @param options - which of the adapters' layers
   * @returns a model without adapters, of views of the old bytes
   * @throws UsageError for an adapter whose modules or shapes the model does not have, and for a pattern that matches none of its
   *   layers; SorthError for quantized weights, beside which an adapter has to stay, and for a sum that the weight's type cannot hold
   *
   * @example
   * import { adapterOf, addAdapters, mergeAdapters, readModel, writeModel } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const [first, second] = [await adapterOf(await addAdapters(model)), await adapterOf(await addAdapters(model, { seed: 1 }))];
   * await writeModel(await mergeAdapters(model, [first, { adapter: second, weight: 0.5 }]), "merged.onnx");
   */
  mergeAdapters(
    model: Model,
    adapters?: Adapter | readonly (Adapter | WeightedAdapter)[],
    options?: MergeOptions,
  ): Promise<Model>;

  /**
   * Subtracts adapters from the weights into which `mergeAdapters` folded them. The weights are those from before within
   * rounding: a weight much smaller than its adapter loses digits.
   *
   * @param model - the merged model
   * @param adapters - the adapters with the weights with which they were merged
   * @param options - the layers into which they were merged
   * @throws UsageError as mergeAdapters does, and for an adapter that also replaced parameters
   *
   * @example
   * import { adapterOf, addAdapters, mergeAdapters, readModel, unmerge } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const adapter = await adapterOf(await addAdapters(model));
   * const base = await unmerge(await mergeAdapters(model, adapter), adapter);
   * console.log(base.size === model.size);
   */
  unmerge(
    model: Model,
    adapters: Adapter | readonly (Adapter | WeightedAdapter)[],
    options?: MergeOptions,
  ): Promise<Model>;

  /**
   * Puts an adapter from a file beside the layers of a model, as `addAdapters` puts fresh ones, to train it further or to
   * run a quantized model with it. Adapters that the model has are replaced.
   *
   * @param model - with or without adapters
   * @param adapter - from `readAdapter` or `decodeAdapter`
   * @throws UsageError for an adapter whose modules or shapes the model does not have
   *
   * @example
   * import { adapterOf, addAdapters, loadAdapter, readModel } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const adapted = await loadAdapter(model, await adapterOf(await addAdapters(model)));
   * console.log(adapted.size);
   */
  loadAdapter(model: Model, adapter: Adapter): Promise<Model>;

  /**
   * The adapter of a model that has one, apart from the model.
   *
   * @throws UsageError if the model has none
   *
   * @example
   * import { adapterOf, addAdapters, readModel } from "sorth-onnx";
   *
   * const { layers } = await adapterOf(await addAdapters(await readModel("model.onnx")));
   * for (const { module, down, up } of layers) console.log(module, down?.dims, up?.dims);
   */
  adapterOf(model: Model): Promise<Adapter>;

  /**
   * An adapter as the two files of PEFT's format, for a page; in node `writeAdapter` writes them.
   * `PeftModel.from_pretrained(model, folder)` reads them from one folder, where they are called `adapter_model.safetensors` and
   * `adapter_config.json`.
   *
   * @example
   * import { adapterOf, addAdapters, encodeAdapter, readModel } from "sorth-onnx";
   *
   * const adapted = await addAdapters(await readModel("model.onnx"));
   * const { tensors, config } = await encodeAdapter(await adapterOf(adapted));
   * console.log(tensors.length, config);
   */
  encodeAdapter(adapter: Adapter): Promise<AdapterFiles>;

  /**
   * Reads an adapter from the two files of PEFT's format, of this program or of PEFT; in node `readAdapter` reads them from a
   * folder.
   *
   * @param tensors - `adapter_model.safetensors`
   * @param config - the text of `adapter_config.json`; files of this program hold theirs
   * @throws SorthError for a damaged file; UsageError for another kind of adapter, or a missing configuration
   *
   * @example
   * import { adapterOf, addAdapters, decodeAdapter, encodeAdapter, readModel } from "sorth-onnx";
   *
   * const { tensors, config } = await encodeAdapter(await adapterOf(await addAdapters(await readModel("model.onnx"))));
   * const { rank, layers } = await decodeAdapter(tensors, config);
   * console.log(rank, layers.length);
   */
  decodeAdapter(tensors: Uint8Array, config?: string): Promise<Adapter>;

  /**
   * The adapter of a model in ONNX Runtime's format (`.onnx_adapter`), with the graph that takes it: the base with the adapter's
   * parameters as optional inputs, whose defaults leave the base as it is. B holds the scaling, so one graph takes adapters of any
   * rank and alpha for the same layers. In node `writeOnnxAdapter` writes both.
   *
   * @param model - with adapters beside its layers
   * @throws UsageError for a model without adapters, or of IR version 3, whose initializers nobody can replace
   *
   * @example
   * import { addAdapters, encodeOnnxAdapter, readModel, writeModel } from "sorth-onnx";
   *
   * const { adapter, model } = await encodeOnnxAdapter(await addAdapters(await readModel("model.onnx")));
   * await writeModel(model, "takes-adapters.onnx");
   * console.log(adapter.length);
   */
  encodeOnnxAdapter(model: Model): Promise<OnnxAdapterFiles>;

  /**
   * Reads an adapter from ONNX Runtime's format, as {@link Library.encodeOnnxAdapter} writes it.
   *
   * @throws SorthError for a damaged file; UsageError for parameters of other names
   *
   * @example
   * import { addAdapters, decodeOnnxAdapter, encodeOnnxAdapter, mergeAdapters, readModel } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const { adapter } = await encodeOnnxAdapter(await addAdapters(model));
   * console.log((await mergeAdapters(model, await decodeOnnxAdapter(adapter))).size);
   */
  decodeOnnxAdapter(bytes: Uint8Array): Promise<Adapter>;
}
