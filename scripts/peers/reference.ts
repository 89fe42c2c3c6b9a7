import type { Tensor } from "../../src/onnx/tensor.ts";
import { readSafeTensors } from "./safetensors.ts";

/** The mode in which a network was run: inference, training, or inference with folded BatchNorm. */
export type Kind = "eval" | "train" | "folded";

interface Figures {
  readonly loss: number;
  /** Largest absolute gradient of all parameters. */
  readonly scale: number;
  /** Per parameter: largest absolute gradient, and largest distance between PyTorch's float32 and float64 gradients. */
  readonly parameters: Readonly<Record<string, readonly [size: number, float32Error: number]>>;
}

type About = Readonly<Record<Kind, Figures>> & {
  /** Whether gradients pass where the network calls detach. */
  readonly undetached?: boolean;
  /** For each folded layer, its own parameters and those of the BatchNorm behind it. */
  readonly standsFor: Readonly<Record<string, readonly string[]>>;
};

/** PyTorch's results for one architecture, as written by export.py. */
export class Reference {
  readonly about: About;
  /** Data for inputs and targets by name. */
  readonly feeds = new Map<string, Tensor>();
  /** Parameters by PyTorch's names. */
  readonly values = new Map<string, Tensor>();
  /** Weights and biases of layers with a folded BatchNorm. */
  readonly folded = new Map<string, Tensor>();
  readonly #tensors: ReadonlyMap<string, Tensor>;

  readonly path: string;

  constructor(path: string) {
    this.path = path;
    const { tensors, metadata } = readSafeTensors(path);
    this.#tensors = tensors;
    this.about = JSON.parse(metadata.about ?? "{}") as About;
    for (const [name, tensor] of tensors) {
      const [group, rest = ""] = split(name);
      if (group === "feed") this.feeds.set(rest, tensor);
      else if (group === "value") this.values.set(rest, tensor);
      else if (group === "folded value") this.folded.set(rest, tensor);
    }
  }

  /** The float64 gradient, rounded to float32; undefined where the loss does not depend on the parameter. */
  gradient(kind: Kind, name: string): Float32Array | undefined {
    return this.#tensors.get(`${kind} gradient/${name}`)?.data as Float32Array | undefined;
  }
}

function split(name: string): [string, string] {
  const slash = name.indexOf("/");
  return [name.slice(0, slash), name.slice(slash + 1)];
}
