import { matchesAny } from "../analysis/name-patterns.ts";
import { mayBacktrack } from "../block/bounded-pattern.ts";
import { FileError, UsageError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { decodeTensors, encodeTensors } from "../programs/checkpoint.ts";
import { visibleLines } from "../visible.ts";
import type { Adapter, AdapterLayer } from "./adapter.ts";

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
  const config = visibleLines(JSON.stringify(configOf(adapter), null, 2));
  const tensors = new Map<string, Tensor>();
  for (const { module, down, up, magnitude } of adapter.layers) {
    tensors.set(`${prefix}${module}.lora_A.weight`, down);
    tensors.set(`${prefix}${module}.lora_B.weight`, up);
    if (magnitude) tensors.set(`${prefix}${module}.lora_magnitude_vector`, magnitude);
  }
  for (const [name, tensor] of adapter.saved) tensors.set(`${prefix}${name}`, tensor);
  const pieces = encodeTensors(tensors, { format: "pt", [configKey]: config });
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return { tensors: bytes, config: `${config}\n` };
}

/** PEFT's LoraConfig. */
function configOf({ layers, saved, rank, alpha, scaling, dropout, dora }: Adapter): Record<string, unknown> {
  const rankOf = (layer: AdapterLayer) => layer.down.dims[0] ?? rank;
  const others = (value: (layer: AdapterLayer) => number, usual: number) =>
    Object.fromEntries(
      layers.flatMap((layer) => (value(layer) === usual ? [] : [[layer.module, value(layer)]])),
    );
  const modules = [...new Set([...saved.keys()].map((name) => name.slice(0, name.lastIndexOf("."))))];
  return {
    peft_type: "LORA",
    task_type: null,
    base_model_name_or_path: null,
    inference_mode: true,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    use_rslora: scaling === "rslora",
    use_dora: dora,
    bias: "none",
    fan_in_fan_out: false,
    init_lora_weights: true,
    target_modules: layers.map(({ module }) => module),
    modules_to_save: modules.length > 0 ? modules : null,
    rank_pattern: others(rankOf, rank),
    alpha_pattern: others((layer) => layer.alpha, alpha),
  };
}

/**
 * Reads an adapter from PEFT's two files, of this program or of PEFT.
 * @param config - the text of `adapter_config.json`; files of this program hold theirs
 * @param where - the file's name, for messages
 * @throws SorthError for a damaged file, UsageError for another kind of adapter, or for a missing configuration
 */
export function decodeAdapter(tensors: Uint8Array, config?: string, where = "the adapter"): Adapter {
  const { tensors: all, metadata } = decodeTensors(tensors, where, "file of adapters");
  const text = metadata[configKey] ?? config;
  if (text === undefined) {
    throw new UsageError(
      `${where} has no configuration: PEFT writes it into adapter_config.json, in the same folder`,
    );
  }
  const settings = readConfig(text, where);
  const parts = new Map<string, { down?: Tensor; up?: Tensor; magnitude?: Tensor }>();
  const partOf = (module: string) => {
    const part = parts.get(module) ?? {};
    parts.set(module, part);
    return part;
  };
  const saved = new Map<string, Tensor>();
  for (const [key, tensor] of all) {
    const name = key.startsWith(prefix) ? key.slice(prefix.length) : key;
    // PEFT leaves out the adapter's name (`default`) in files, but not in the model's state_dict.
    const found = /^(.+)\.lora_([AB])(?:\.\w+)??\.weight$/.exec(name);
    const [, scaled] = /^(.+)\.lora_magnitude_vector(?:\.\w+)??(?:\.weight)?$/.exec(name) ?? [];
    if (found) {
      const [, module = "", letter] = found;
      partOf(module)[letter === "A" ? "down" : "up"] = tensor;
    } else if (scaled !== undefined && settings.dora) partOf(scaled).magnitude = tensor;
    else if (/lora_|ia3_|\.hada_|\.oft_/.test(name)) {
      throw new UsageError(
        `${where} has "${key}", a part of an adapter that is not supported: only lora_A, lora_B and, with use_dora, lora_magnitude_vector are`,
      );
    } else saved.set(name.replace(/\.modules_to_save\.\w+/, ""), tensor);
  }
  const layers = [...parts].map(([module, { down, up, magnitude }]): AdapterLayer => {
    if (!down || !up) throw new FileError(`${where} has only one of lora_A and lora_B for "${module}"`);
    if (settings.dora && !magnitude) {
      throw new FileError(`${where} has use_dora, and no lora_magnitude_vector for "${module}"`);
    }
    const alphaHere = patternFor(settings.alphas, module) ?? settings.alpha;
    return { module, alpha: alphaHere, down, up, ...(magnitude && { magnitude }) };
  });
  if (layers.length === 0) throw new FileError(`${where} holds no lora_A and lora_B`);
  return {
    rank: settings.rank,
    alpha: settings.alpha,
    scaling: settings.scaling,
    dropout: settings.dropout,
    dora: settings.dora,
    layers,
    saved,
  };
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

function isRegularMatch(key: string, module: string): boolean {
  // A pattern of a file must not take the program's time.
  if (/^[\w.]+$/.test(key) || mayBacktrack(key)) return false;
  try {
    return matchesAny(new RegExp(`^(.*\\.)?(${key})$`), [module]);
  } catch {
    return false;
  }
}

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
    new UsageError(`${where} is an adapter with ${what}, which is not supported: only LoRA and DoRA are`);
  if (config.peft_type !== "LORA") throw refuse(`peft_type ${JSON.stringify(config.peft_type)}`);
  if (typeof config.bias === "string" && config.bias !== "none") throw refuse(`bias "${config.bias}"`);
  if (config.lora_bias === true) throw refuse("lora_bias");
  const rank = number("r", 8);
  return {
    ...{ rank, alpha: number("lora_alpha", 8), dropout: number("lora_dropout", 0) },
    dora: config.use_dora === true,
    scaling: config.use_rslora === true ? ("rslora" as const) : ("lora" as const),
    alphas: (typeof config.alpha_pattern === "object" && config.alpha_pattern !== null
      ? config.alpha_pattern
      : {}) as Readonly<Record<string, unknown>>,
  };
}
