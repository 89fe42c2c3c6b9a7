import { matchesAny } from "../analysis/name-patterns.ts";
import { mayBacktrack } from "../block/bounded-pattern.ts";
import { checkBytes } from "../check-arguments.ts";
import { FileError, UsageError } from "../errors.ts";
import { joinChunks } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { decodeTensors, encodeTensors } from "../programs/checkpoint.ts";
import { visibleLines } from "../visible.ts";
import { type Adapter, type AdapterLayer, defaultRank } from "./adapter.ts";
import { checkAdapter } from "./check-adapter.ts";
import { partOf } from "./ia3.ts";
import { kindOf } from "./kinds.ts";

/** The two files of an adapter in PEFT's format. */
export interface AdapterFiles {
  /** `adapter_model.safetensors`. */
  readonly tensors: Uint8Array;
  /** `adapter_config.json`. */
  readonly config: string;
}

/** Prefix of all names in PEFT's files. */
const prefix = "base_model.model.";
/** The key under which this program keeps the configuration inside the file of tensors. */
const configKey = "adapter_config";

/**
 * An adapter as PEFT's two files: `PeftModel.from_pretrained(model, folder)` reads them from one folder, where they are called
 * `adapter_model.safetensors` and `adapter_config.json`.
 */
export function encodeAdapter(adapter: Adapter): AdapterFiles {
  checkAdapter(adapter);
  const config = visibleLines(JSON.stringify(configOf(adapter), null, 2));
  const tensors = new Map<string, Tensor>();
  const kind = kindOf(adapter);
  const modules = adapter.layers.map(({ module }) => module);
  for (const layer of adapter.layers) {
    const module = beneath(layer.module, modules);
    for (const [part, tensor] of Object.entries(kind.tensorsOf(layer))) {
      tensors.set(`${prefix}${module}.${nameOfPart(part)}`, tensor);
    }
  }
  for (const [name, tensor] of adapter.saved) tensors.set(`${prefix}${name}`, tensor);
  const pieces = encodeTensors(tensors, { format: "pt", [configKey]: config });
  return { tensors: joinChunks(pieces), config: `${config}\n` };
}

/** PEFT's name of a module inside other modules with adapters, such as the last projection of an attention. */
const beneath = (module: string, modules: readonly string[]): string =>
  modules.reduce(
    (name, outer) => (name.startsWith(`${outer}.`) ? `${outer}.base_layer${name.slice(outer.length)}` : name),
    module,
  );

/** PEFT's name of a part: A and B are the weights of layers, and factors of inputs are called as those of results. */
const nameOfPart = (part: string): string =>
  /^lora_[AB]$/.test(part) ? `${part}.weight` : part === partOf(true) ? partOf(false) : part;

/** PEFT's LoraConfig or IA3Config. */
function configOf(adapter: Adapter): Record<string, unknown> {
  const modules = [...new Set([...adapter.saved.keys()].map((name) => name.slice(0, name.lastIndexOf("."))))];
  return {
    ...kindOf(adapter).configOf(adapter),
    ...{ task_type: null, base_model_name_or_path: null, inference_mode: true, fan_in_fan_out: false },
    target_modules: adapter.layers.map(({ module }) => module),
    modules_to_save: modules.length > 0 ? modules : null,
  };
}

/**
 * Reads an adapter from PEFT's two files, of this program or of PEFT.
 * @param config - the text of `adapter_config.json`; files of this program hold theirs
 * @param where - the file's name, for messages
 * @throws SorthError for a damaged file, UsageError for another kind of adapter, or for a missing configuration
 */
export function decodeAdapter(tensors: Uint8Array, config?: string, where = "the adapter"): Adapter {
  checkBytes("the tensors of an adapter", tensors);
  const { tensors: all, metadata } = decodeTensors(tensors, where, "file of adapters");
  const text = metadata[configKey] ?? config;
  if (text === undefined) {
    throw new UsageError(
      `${where} has no configuration: PEFT writes it into adapter_config.json, in the same folder`,
    );
  }
  const settings = readConfig(text, where);
  const parts = new Map<string, Record<string, Tensor>>();
  const add = (module: string, part: string, tensor: Tensor): void => {
    if (parts.get(module)?.[part]) throw new FileError(`${where} has ${part} of "${module}" twice`);
    parts.set(module, { ...parts.get(module), [part]: tensor });
  };
  const saved = new Map<string, Tensor>();
  for (const [key, tensor] of all) {
    const whole = key.startsWith(prefix) ? key.slice(prefix.length) : key;
    // A module inside a module with an adapter lies below the `base_layer` of the outer one.
    const name = whole.replaceAll(".base_layer.", ".");
    // PEFT leaves out the adapter's name (`default`) in files, but not in the model's state_dict.
    const found = /^(.+)\.(?:(lora_[AB])(?:\.\w+)??\.weight|(lora_embedding_[AB])(?:\.\w+)?)$/.exec(name);
    const [, scaled] = /^(.+)\.lora_magnitude_vector(?:\.\w+)??(?:\.weight)?$/.exec(name) ?? [];
    const [, factored] = /^(.+)\.ia3_l(?:\.\w+)??$/.exec(name) ?? [];
    if (found && !settings.ia3) {
      const [, module = "", linear, embedding = ""] = found;
      add(module, linear ?? embedding, tensor);
    } else if (scaled !== undefined && settings.dora) add(scaled, "lora_magnitude_vector", tensor);
    else if (factored !== undefined && settings.ia3) {
      add(factored, partOf(isFeedforward(settings.feedforward, factored, tensor)), tensor);
    } else if (/\.base_layer\.\w+$/.test(whole)) {
      // PEFT keeps the table of an adapted embedding of transformers beside its adapter.
    } else if (/lora_|ia3_|\.hada_|\.oft_/.test(name)) {
      throw new UsageError(
        `${where} has "${key}", a part of an adapter that is not supported: only lora_A, lora_B and, with use_dora, lora_magnitude_vector are, and ia3_l of an IA3Config`,
      );
    } else {
      const of = name.replace(/\.modules_to_save\.\w+/, "");
      if (saved.has(of)) throw new FileError(`${where} has "${of}" twice`);
      saved.set(of, tensor);
    }
  }
  const layers = [...parts].map(([module, own]): AdapterLayer => {
    const alpha = patternFor(settings.alphas, module) ?? settings.alpha;
    const layer = kindOf(settings).layerFrom(module, alpha, own);
    if (!layer) throw new FileError(`${where} has only one of lora_A and lora_B for "${module}"`);
    if (settings.dora && !own.lora_magnitude_vector) {
      throw new FileError(`${where} has use_dora, and no lora_magnitude_vector for "${module}"`);
    }
    return layer;
  });
  if (layers.length === 0) {
    throw new FileError(`${where} holds no ${settings.ia3 ? "ia3_l" : "lora_A and lora_B"}`);
  }
  return {
    rank: settings.rank,
    alpha: settings.alpha,
    scaling: settings.scaling,
    dropout: settings.dropout,
    dora: settings.dora,
    ia3: settings.ia3,
    layers,
    saved,
  };
}

/**
 * Whether factors scale the inputs of a module: PEFT's list of names, which match the end of the module's, or its one pattern. The
 * shape of a linear layer's factors says it too.
 */
function isFeedforward(given: unknown, module: string, { dims }: Tensor): boolean {
  if (dims.length === 2) return dims[0] === 1;
  if (Array.isArray(given)) return given.some((name) => typeof name === "string" && module.endsWith(name));
  return typeof given === "string" && isRegularMatch(given, module, "whole");
}

/** The number that a pattern of PEFT's gives for a module: its keys match the end of the module's name. */
function patternFor(patterns: Readonly<Record<string, unknown>>, module: string): number | undefined {
  const found = Object.entries(patterns).find(
    ([key, value]) =>
      typeof value === "number" &&
      (key === module || module.endsWith(`.${key}`) || isRegularMatch(key, module)),
  );
  return found && Number(found[1]);
}

function isRegularMatch(key: string, module: string, part: "end" | "whole" = "end"): boolean {
  // A pattern that a file gives must not take the program's time.
  if ((part === "end" && /^[\w.]+$/.test(key)) || mayBacktrack(key)) return false;
  try {
    return matchesAny(new RegExp(`^${part === "end" ? "(.*\\.)?" : ""}(${key})$`), [module]);
  } catch {
    return false;
  }
}

/** Ways to begin in which PEFT subtracts what the adapter adds from the base's weights. */
const takesFromBase = /^(pissa|olora|corda|loftq|lora_ga)/i;

function readConfig(text: string, where: string) {
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new FileError(`${where}: adapter_config.json is not JSON`);
  }
  if (typeof config !== "object" || config === null) {
    throw new FileError(`${where}: adapter_config.json is no object`);
  }
  const number = (key: string, fallback: number): number => {
    const value = config[key] ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new FileError(`${where}: ${key} in adapter_config.json is no number`);
  };
  const refuse = (what: string) =>
    new UsageError(
      `${where} is an adapter with ${what}, which is not supported: only LoRA, DoRA and IA³ are`,
    );
  const ia3 = config.peft_type === "IA3";
  if (config.peft_type !== "LORA" && !ia3) throw refuse(`peft_type ${JSON.stringify(config.peft_type)}`);
  if (typeof config.bias === "string" && config.bias !== "none") throw refuse(`bias "${config.bias}"`);
  if (config.lora_bias === true) throw refuse("lora_bias");
  for (const key of ["trainable_token_indices", "alora_invocation_tokens", "layer_replication"]) {
    if (config[key] !== undefined && config[key] !== null) throw refuse(key);
  }
  const init = config.init_lora_weights;
  if (typeof init === "string" && takesFromBase.test(init)) {
    throw new UsageError(
      `${where} began with init_lora_weights "${init}", which takes a part out of the base's weights: it does not fit the model as it is; save it with PEFT's path_initial_model_for_weight_conversion, which makes it a plain one`,
    );
  }
  const rank = number("r", defaultRank);
  return {
    ...{ rank, alpha: number("lora_alpha", defaultRank), dropout: number("lora_dropout", 0) },
    dora: !ia3 && config.use_dora === true,
    ...{ ia3, feedforward: config.feedforward_modules },
    scaling: config.use_rslora === true ? ("rslora" as const) : ("lora" as const),
    alphas: (typeof config.alpha_pattern === "object" && config.alpha_pattern !== null
      ? config.alpha_pattern
      : {}) as Readonly<Record<string, unknown>>,
  };
}
