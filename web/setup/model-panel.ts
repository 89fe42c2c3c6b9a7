import { byId, el } from "../dom.ts";
import { bytes, count, plural } from "../format.ts";
import { type ChosenFile, type ModelSource, type ModelSummary, sampleNames } from "../protocol.ts";
import { chosenFiles } from "./chosen-files.ts";

/** Choosing a model. */
export class ModelPanel {
  readonly #radios = [...document.querySelectorAll<HTMLInputElement>('input[name="model"]')];
  readonly #files = byId("model-files", HTMLInputElement);
  readonly #summary = byId("model-summary", HTMLElement);
  readonly #choose: (source: ModelSource) => void;

  constructor(choose: (source: ModelSource) => void) {
    this.#choose = choose;
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => {
        const name = sampleNames.find((sample) => sample === radio.value);
        if (name) this.#take({ kind: "sample", name });
        else if (this.#files.files?.length) this.#take({ kind: "files", files: chosenFiles(this.#files) });
        else this.#summary.replaceChildren("Choose a file.");
      });
    }
    this.#files.addEventListener("change", () => {
      if (this.#files.files?.length) this.takeFiles(chosenFiles(this.#files));
    });
  }

  /** Takes a sample model. */
  takeSample(name: (typeof sampleNames)[number]): void {
    this.#check(name);
    this.#take({ kind: "sample", name });
  }

  /** Takes files that were chosen or dropped. */
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
    const facts: [string, string][] = [
      ["File", `${name}.onnx, ${bytes(summary.bytes)}, opset ${opset}${producer ? `, ${producer}` : ""}`],
      ["Kind", kinds[kind]],
      ["Input", input],
      ["Trained", `${count(parameters.numbers)} numbers in ${plural(parameters.tensors, "tensor")}`],
      ["SOM on", `${plural(penalized.length, "layer")}: ${penalized.map((layer) => layer.name).join(", ")}`],
      ...skipped.map(({ name: layer, penalty }): [string, string] => ["Skipped", `${layer}: ${penalty}`]),
    ];
    this.#summary.replaceChildren(
      el("dl", {}, ...facts.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text)))),
      ...remarks.map((remark) => el("p", { class: "note" }, remark)),
    );
  }

  /** Shows which model a kept run trains. */
  showKept(name: string): void {
    this.#check(sampleNames.find((sample) => sample === name) ?? "own");
  }

  refuse(message: string): void {
    this.#summary.replaceChildren(el("p", { class: "error" }, `This cannot be trained: ${message}`));
  }

  #take(source: ModelSource): void {
    this.#summary.replaceChildren("Reading …");
    this.#choose(source);
  }

  #check(value: string): void {
    for (const radio of this.#radios) radio.checked = radio.value === value;
  }
}
