import type { Probe } from "../analysis/probe.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { Value } from "../graph/node.ts";
import { inputRecord } from "../graph/records.ts";
import { checkModel } from "../onnx/check-model.ts";
import { decodeTensorProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { type FieldRecord, graphFields } from "../onnx/wire.ts";
import { Random } from "../random.ts";
import { adapterKind, kindOf } from "./kinds.ts";
import { adapterOf, loadAdapter } from "./load.ts";
import { matricesIn } from "./lora-layer.ts";
import { type Mark, markOf } from "./mark.ts";
import { encodeParameters } from "./onnx-adapter-file.ts";
import { normsFor } from "./weight-numbers.ts";

/** An adapter in ONNX Runtime's format, with the graph that takes it. */
export interface OnnxAdapterFiles {
  /** The `.onnx_adapter` file. */
  readonly adapter: Uint8Array;
  /** The base with the adapter's parameters as optional inputs; without them it computes what the base does. */
  readonly model: Model;
}

/**
 * The adapter of a model as ONNX Runtime loads it. B holds the scaling, so that one graph takes adapters of any rank and alpha.
 * `Library.encodeOnnxAdapter` documents it.
 */
export async function encodeOnnxAdapter(model: Model, probe: Probe): Promise<OnnxAdapterFiles> {
  checkModel(model);
  checkTakesInputs(model);
  const adapter = adapterOf(model);
  const layers = adapter.layers.map((layer) => kindOf(adapter).withoutScaling(layer, adapter));
  const loaded = await loadAdapter(model, { ...adapter, scaling: "lora", dropout: 0, layers }, probe);
  const graph = graphOf(loaded);
  const mark = markOf(graph) as Mark;
  const parameters = mark.parameters.map((name) => graph.valueNamed(name).initializer as Tensor);
  const defaults = new Map<string, Tensor>();
  for (const layer of mark.layers) {
    const kind = adapterKind(layer.kind);
    const norms = await normsFor(graph, { layer, kind }, probe);
    const fresh = kind.fresh(layer, layer.settings, new Random("lora", 0), norms);
    for (const [part, name] of Object.entries(layer.parameters)) {
      const tensor = fresh[part];
      if (tensor) defaults.set(name, tensor.named(name));
    }
  }
  return { adapter: encodeParameters(parameters), model: withInputs(loaded, mark, defaults) };
}

/** @throws UsageError for a file whose initializers no caller can replace */
export function checkTakesInputs({ proto }: Model): void {
  if (Number(proto.irVersion) >= 4) return;
  throw new UsageError(
    "an .onnx_adapter is no use for this model: its file has IR version 3 or less, whose initializers ONNX Runtime lets nobody replace; write the adapter as .safetensors, or export the model again",
  );
}

/** The model with the parameters of its adapters as inputs, and other numbers for callers that give none. */
function withInputs(model: Model, mark: Mark, defaults: ReadonlyMap<string, Tensor>): Model {
  const { layout } = model;
  const replace = new Map<FieldRecord, Chunk[]>();
  for (const record of layout.graph) {
    if (record.field !== graphFields.initializer) continue;
    const { name } = decodeTensorProto(payloadOf(layout, record));
    const tensor = defaults.get(name);
    if (tensor) replace.set(record, initializerRecord(tensor));
  }
  const free = new Map(
    mark.layers.flatMap(({ parameters, groups }): [string, number][] => {
      const { down, up } = matricesIn(parameters);
      // In a layer with groups, each group of B has only a part of A's rank.
      return down === undefined || up === undefined || groups !== undefined
        ? []
        : [
            [down, 0],
            [up, 1],
          ];
    }),
  );
  const appendToGraph = [...defaults.values()].map(({ name, type, dims }) => {
    const input = new Value(name, type);
    const rank = `${name.replace(/_[AB](_\d+)?$/, "$1")}_rank`;
    input.declared = dims.map((dim, axis) => (free.get(name) === axis ? rank : dim));
    return inputRecord(input);
  });
  return Model.spliced(splice(layout, { replace, appendToGraph }), model);
}
