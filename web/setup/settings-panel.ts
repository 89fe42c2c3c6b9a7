import { backendTitles, webBackends } from "../../src/passes/backends/names.ts";
import { byId, el, setText } from "../dom.ts";
import type { BackendName, Equipment, ModelSummary, NormalizationChoice, Settings } from "../protocol.ts";
import { Slider } from "./slider.ts";

/** The controls of the penalty and of training. */
export class SettingsPanel {
  readonly #form = byId("setup", HTMLFormElement);
  readonly #weight = new Slider({
    ...{ id: "weight", label: "Weight w", hint: "loss + w·R", value: 0.1, powers: [-3, 1], allowZero: true },
  });
  readonly #gamma = new Slider({
    ...{
      id: "gamma",
      label: "γ",
      hint: "steepness of tanh(γ·y)",
      value: 10,
      powers: [-1, 2],
      allowZero: false,
    },
  });
  readonly #lambda1 = new Slider({
    ...{
      id: "lambda1",
      label: "λ1",
      hint: "of the squared mean cosine; 100 in the paper",
      value: 0,
      powers: [-1, 3],
    },
    allowZero: true,
  });
  readonly #lambda2 = new Slider({
    ...{
      id: "lambda2",
      label: "λ2",
      hint: "of the mean squared cosine",
      value: 1,
      powers: [-2, 2],
      allowZero: true,
    },
  });
  readonly #reduction = el(
    "select",
    { id: "reduction" },
    el("option", { value: "mean" }, "mean over pairs"),
    el("option", { value: "sum" }, "sum, as printed in the paper"),
  );
  readonly #onOutputs = el(
    "select",
    { id: "on-outputs" },
    el("option", { value: "yes" }, "penalised too"),
    el("option", { value: "no" }, "left out"),
  );
  readonly #epochs = byId("epochs", HTMLInputElement);
  readonly #batch = byId("batch", HTMLInputElement);
  readonly #learningRate = byId("learning-rate", HTMLInputElement);
  readonly #seed = byId("seed", HTMLInputElement);
  readonly #optimizer = byId("optimizer", HTMLSelectElement);
  /** Fields for the limits of gradients, by flag; an empty field means no limit. */
  readonly #clips = new Map<string, HTMLInputElement>();
  readonly #normalize = byId("normalize", HTMLSelectElement);
  readonly #loss = byId("loss", HTMLSelectElement);
  readonly #backend = byId("backend", HTMLSelectElement);
  readonly #backendNote = byId("backend-note", HTMLElement);
  readonly #penaltyNote = byId("penalty-note", HTMLElement);

  constructor() {
    this.#backend.append(...webBackends.map((name) => el("option", { value: name }, backendTitles[name])));
    byId("penalty-controls", HTMLFieldSetElement).append(
      ...[this.#weight, this.#gamma, this.#lambda1, this.#lambda2].map(({ element }) => element),
      el("label", { class: "field", for: "reduction" }, "Reduction"),
      this.#reduction,
      el("label", { class: "field", for: "on-outputs" }, "Output layer"),
      this.#onOutputs,
    );
  }

  /** The current settings; undefined if a number is invalid, which the browser then points out. */
  read(): Settings | undefined {
    if (!this.#form.reportValidity()) return undefined;
    return {
      som: {
        lambda1: this.#lambda1.value,
        lambda2: this.#lambda2.value,
        gamma: this.#gamma.value,
        reduction: this.#reduction.value === "sum" ? "sum" : "mean",
      },
      weight: this.#weight.value,
      onOutputs: this.#onOutputs.value === "yes",
      epochs: this.#epochs.valueAsNumber,
      batch: this.#batch.valueAsNumber,
      learningRate: this.#learningRate.valueAsNumber,
      seed: this.#seed.valueAsNumber,
      optimizer: this.#optimizer.value,
      clip: Object.fromEntries(
        [...this.#clips].flatMap(([flag, { value, valueAsNumber }]) =>
          value === "" ? [] : [[flag, valueAsNumber]],
        ),
      ),
      normalize: this.#normalize.value as NormalizationChoice,
      loss: this.#loss.value,
      backend: this.#backend.value as BackendName,
    };
  }

  /** Shows the settings of a run. */
  show(settings: Settings): void {
    const { som, weight, onOutputs, epochs, batch, learningRate, seed, optimizer, clip, loss, backend } =
      settings;
    this.#showSom(som);
    this.#weight.value = weight;
    this.#onOutputs.value = onOutputs ? "yes" : "no";
    this.#epochs.valueAsNumber = epochs;
    this.#batch.valueAsNumber = batch;
    this.#learningRate.valueAsNumber = learningRate;
    this.#seed.valueAsNumber = seed;
    if ([...this.#optimizer.options].some(({ value }) => value === optimizer))
      this.#optimizer.value = optimizer;
    for (const [flag, input] of this.#clips) input.value = String(clip?.[flag] ?? "");
    // Runs kept by an older page do not have it.
    this.#normalize.value = settings.normalize ?? "auto";
    this.#loss.value = loss;
    if (webBackends.includes(backend)) this.#backend.value = backend;
  }

  /** Lists the losses of a model, and locks the settings that its file decides. */
  fit({ losses, fixed, kind }: ModelSummary): void {
    this.#loss.replaceChildren(...losses.map((loss) => el("option", { value: loss }, loss)));
    this.#loss.disabled = losses.length === 1;
    this.#batch.disabled = fixed.batch !== undefined;
    if (fixed.batch !== undefined) this.#batch.valueAsNumber = fixed.batch;
    if (fixed.som) this.#showSom(fixed.som);
    if (fixed.weight !== undefined) this.#weight.value = fixed.weight;
    const locked = fixed.som !== undefined;
    for (const slider of [this.#gamma, this.#lambda1, this.#lambda2]) slider.disabled = locked;
    this.#reduction.disabled = locked;
    this.#onOutputs.disabled = locked;
    this.#penaltyNote.hidden = !locked;
    setText(this.#penaltyNote, locked ? "The penalty in the file is used; its weight can be changed." : "");
    if (fixed.optimizer) this.#optimizer.value = fixed.optimizer;
    else if (this.#optimizer.value === "adamw-ort" && kind === "model") this.#optimizer.selectedIndex = 0;
    if (fixed.learningRate !== undefined) {
      this.#learningRate.valueAsNumber = Number(fixed.learningRate.toPrecision(6));
    }
  }

  /** Lists the library's optimizers and ways to clip gradients. Only the first call has an effect. */
  offer(optimizers: Equipment["optimizers"], clips: Equipment["clips"]): void {
    if (this.#optimizer.options.length > 0) return;
    this.#optimizer.append(...optimizers.map(({ name, title }) => el("option", { value: name }, title)));
    for (const { flag } of clips) {
      const field = { id: flag, type: "number", min: "0.000001", step: "any", placeholder: "off" };
      this.#clips.set(flag, el("input", field));
    }
    const fields = clips.map(({ flag, title }) =>
      el("div", {}, el("label", { class: "field", for: flag }, title), this.#clips.get(flag) ?? ""),
    );
    this.#optimizer.parentElement?.after(...fields);
  }

  /** Shows which backends are available. @param missing - why there is no WebGPU */
  showBackends(threads: number, missing: string | undefined): void {
    const option = this.#backend.querySelector<HTMLOptionElement>('option[value="webgpu"]');
    if (option) option.disabled = missing !== undefined;
    if (missing !== undefined) this.#backend.value = "wasm";
    const alone = globalThis.crossOriginIsolated
      ? ""
      : " This server sends no COOP and COEP headers, without which browsers allow one thread only.";
    const gpu = missing === undefined ? "" : ` No WebGPU: ${missing}.`;
    const wasm = `WebAssembly runs on ${threads === 1 ? "one thread" : `${threads} threads`}.`;
    setText(this.#backendNote, `${wasm}${alone}${gpu}`);
  }

  /** Selects WebAssembly, after the GPU was lost. */
  takeWasm(): void {
    this.#backend.value = "wasm";
  }

  #showSom({ lambda1, lambda2, gamma, reduction }: Settings["som"]): void {
    this.#lambda1.value = lambda1;
    this.#lambda2.value = lambda2;
    this.#gamma.value = gamma;
    this.#reduction.value = reduction;
  }
}
