import { scalingOf } from "../analysis/adapter-names.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import type { Adapter, LoraLayer } from "./adapter.ts";
import type { AdapterKind } from "./kind.ts";

/** A and B among the parts of an adapter. PEFT calls those beside an embedding `lora_embedding_A` and `lora_embedding_B`. */
export const matricesIn = <T>(parts: Readonly<Record<string, T>>): { readonly down?: T; readonly up?: T } => {
  const [down, up] = [parts.lora_A ?? parts.lora_embedding_A, parts.lora_B ?? parts.lora_embedding_B];
  return { ...(down !== undefined && { down }), ...(up !== undefined && { up }) };
};

const rankOf = ({ down }: LoraLayer): number => down.dims[0] ?? 1;

/** The layers of LoRA and DoRA apart from a model: what their adapters and files hold. */
export const loraLayers: Pick<
  AdapterKind,
  "layerFrom" | "tensorsOf" | "settingsFor" | "withoutScaling" | "optionsOf" | "configOf"
> = {
  layerFrom(module, alpha, tensors) {
    const { down, up } = matricesIn(tensors);
    const magnitude = tensors.lora_magnitude_vector;
    const embedding = tensors.lora_embedding_A ? ({ embedding: true } as const) : {};
    return down && up && { module, alpha, down, up, ...embedding, ...(magnitude && { magnitude }) };
  },

  tensorsOf(layer) {
    const { down, up, magnitude, embedding } = layer as LoraLayer;
    return {
      ...(embedding ? { lora_embedding_A: down, lora_embedding_B: up } : { lora_A: down, lora_B: up }),
      ...(magnitude && { lora_magnitude_vector: magnitude }),
    };
  },

  settingsFor: (layer, common) => ({
    ...common,
    rank: rankOf(layer as LoraLayer),
    alpha: (layer as LoraLayer).alpha,
  }),

  withoutScaling(layer, adapter) {
    const { up, alpha, ...others } = layer as LoraLayer;
    const rank = rankOf(layer as LoraLayer);
    const factor = scalingOf({ ...adapter, alpha, rank });
    const numbers = Array.from(up.numbers(), (number) => factor * Number(number));
    return { ...others, alpha: rank, up: tensorOf("", up.type, up.dims, numbers) };
  },

  optionsOf: ({ rank, alpha, scaling, dropout, dora }) => ({ rank, alpha, scaling, dropout, dora }),

  configOf({ layers, rank, alpha, scaling, dropout, dora }: Adapter) {
    const others = (value: (layer: LoraLayer) => number, usual: number) =>
      Object.fromEntries(
        (layers as readonly LoraLayer[]).flatMap((layer) =>
          value(layer) === usual ? [] : [[layer.module, value(layer)]],
        ),
      );
    return {
      ...{ peft_type: "LORA", r: rank, lora_alpha: alpha, lora_dropout: dropout },
      ...{ use_rslora: scaling === "rslora", use_dora: dora, bias: "none", init_lora_weights: true },
      rank_pattern: others(rankOf, rank),
      alpha_pattern: others(({ alpha }) => alpha, alpha),
    };
  },
};
