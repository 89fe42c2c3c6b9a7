import type { Tensor } from "../../src/onnx/tensor.ts";
import { readSafeTensors } from "./safetensors.ts";

/** How a network was run: parameters and BatchNorm as in inference, as in training, or with BatchNorm folded away. */
export type Kind = "eval" | "train" | "folded";

interface Figures {
  readonly loss: number;
  /** Largest gradient of all. */
  readonly scale: number;
  /** Per parameter: largest gradient, and the largest distance of PyTorch's float32 gradient from float64's. */
  readonly parameters: Readonly<Record<string, readonly [size: number, float32Error: number]>>;
}

type About = Readonly<Record<Kind, Figures>> & {
  /** Which parameters a layer has taken over from the BatchNorm behind it, and its own. */
  readonly standsFor: Readonly<Record<string, readonly string[]>>;
};

/** What PyTorch computed for one architecture, as export.py writes it. */
export class Reference {
  readonly about: About;
  /** Data for inputs and targets by name. */
  readonly feeds = new Map<string, Tensor>();
  /** Parameters by PyTorch's names. */
  readonly values = new Map<string, Tensor>();
  /** Weights and biases of layers into which a BatchNorm was folded. */
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
