import { formatBytes } from "../../src/report/byte-count.ts";
import { byId, el } from "../dom.ts";
import { count, plural } from "../format.ts";
import { type ChosenFile, type ModelSource, type ModelSummary, sampleNames } from "../protocol.ts";
import { chosenFiles } from "./chosen-files.ts";

/** The panel in which the user chooses a model. */
export class ModelPanel {
  readonly #radios = [...document.querySelectorAll<HTMLInputElement>('input[name="model"]')];
  readonly #files = byId("model-files", HTMLInputElement);
  readonly #summary = byId("model-summary", HTMLElement);
  readonly #choose: (source: ModelSource) => void;
  /** The loaded model: its name, the choice that led to it, and the displayed text. */
  #loaded: { name: string; choice: string; shown: readonly Node[] } | undefined;

  constructor(choose: (source: ModelSource) => void) {
    this.#choose = choose;
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => {
        const name = sampleNames.find((sample) => sample === radio.value);
        if (name) this.#take({ kind: "sample", name });
        else if (this.#files.files?.length) this.#take({ kind: "files", files: chosenFiles(this.#files) });
        else this.#summary.replaceChildren("Choose a file.", ...this.#kept());
      });
    }
    this.#files.addEventListener("change", () => {
      if (this.#files.files?.length) this.takeFiles(chosenFiles(this.#files));
    });
  }

  /** Accepts a sample model. */
  takeSample(name: (typeof sampleNames)[number]): void {
    this.#check(name);
    this.#take({ kind: "sample", name });
  }

  /** Accepts files that were chosen or dropped. */
  takeFiles(files: readonly ChosenFile[]): void {
    this.#check("own");
    this.#take({ kind: "files", files });
  }

  show(summary: ModelSummary): void {
    const kinds = {
      model: "a forward model",
      injected: "a model with an injected penalty",
      "training-artifact": "a training run of ONNX Runtime, with its checkpoint",
    };
    const { name, kind, opset, producer, input, layers, parameters, remarks } = summary;
    const penalized = layers.filter(({ penalty }) => penalty === true);
    const skipped = layers.filter(({ penalty }) => penalty !== true);
    const facts: [string, string | Node][] = [
      [
        "File",
        `${name}.onnx, ${formatBytes(summary.bytes)}, opset ${opset}${producer ? `, ${producer}` : ""}`,
      ],
      ["Kind", kinds[kind]],
      ["Input", input],
      ["Trained", `${count(parameters.numbers)} numbers in ${plural(parameters.tensors, "tensor")}`],
      ["SOM on", layerList(penalized.map((layer) => layer.name))],
    ];
    if (skipped.length > 0) {
      facts.push(["Skipped", layerList(skipped.map(({ name: layer, penalty }) => `${layer}: ${penalty}`))]);
    }
    const shown = [
      el("dl", {}, ...facts.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text)))),
      ...remarks.map((remark) => el("p", { class: "note" }, remark)),
    ];
    const choice = this.#radios.find((radio) => radio.checked)?.value ?? "own";
    this.#loaded = { name, choice, shown };
    this.#summary.replaceChildren(...shown);
  }

  /** Shows which model a kept run trains. */
  showKept(name: string): void {
    const choice = sampleNames.find((sample) => sample === name) ?? "own";
    this.#check(choice);
    if (this.#loaded) this.#loaded = { ...this.#loaded, choice };
  }

  /** Shows why a model was refused; the loaded one stays. */
  refuse(message: string): void {
    const error = el("p", { class: "error" }, `This cannot be trained: ${message}`);
    this.#summary.replaceChildren(error, ...this.#kept());
    if (!this.#loaded) return;
    this.#check(this.#loaded.choice);
    // Lets the user choose the same file again after mending it.
    if (this.#loaded.choice !== "own") this.#files.value = "";
  }

  #kept(): readonly Node[] {
    if (!this.#loaded) return [];
    return [el("p", {}, `${this.#loaded.name} is still loaded.`), ...this.#loaded.shown];
  }

  #take(source: ModelSource): void {
    this.#summary.replaceChildren("Reading …");
    this.#choose(source);
  }

  #check(value: string): void {
    for (const radio of this.#radios) radio.checked = radio.value === value;
  }
}

/** Number of layers that are listed before the rest is folded away. */
const named = 8;

/** "3 layers: fc1, fc2, logits"; the user can unfold long lists. */
function layerList(layers: readonly string[]): string | Node {
  const total = plural(layers.length, "layer");
  if (layers.length <= named) return layers.length === 0 ? total : `${total}: ${layers.join(", ")}`;
  const items = layers.map((layer) => el("li", {}, layer));
  return el("details", {}, el("summary", {}, total), el("ul", {}, ...items));
}
