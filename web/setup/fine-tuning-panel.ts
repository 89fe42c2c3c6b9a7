import { byId, setText } from "../dom.ts";
import {
  type DataSummary,
  type FineTuning,
  type ModelSummary,
  type RunName,
  runNames,
  type Settings,
  trainedParts,
} from "../protocol.ts";
import { classesIn, followed, mismatch } from "./class-list.ts";

/** Runs by the choices of the page. */
const runChoices: Readonly<Record<string, readonly RunName[]>> = {
  both: runNames,
  plain: ["plain"],
  som: ["som"],
};

/** The controls of new classes, of the weights that are trained, and of the runs. */
export class FineTuningPanel {
  readonly #new = byId("new-classes", HTMLInputElement);
  readonly #headNote = byId("head-note", HTMLElement);
  readonly #field = byId("class-names-field", HTMLElement);
  readonly #names = byId("class-names", HTMLTextAreaElement);
  readonly #namesNote = byId("class-names-note", HTMLElement);
  readonly #part = byId("trained-part", HTMLSelectElement);
  readonly #rank = byId("lora-rank", HTMLInputElement);
  readonly #alpha = byId("lora-alpha", HTMLInputElement);
  readonly #loraFields = document.querySelectorAll<HTMLElement>("[data-lora]");
  readonly #runs = byId("runs", HTMLSelectElement);
  #model: ModelSummary | undefined;
  /** Names of the folders. */
  #folders: readonly string[] | undefined;
  /** The user made the choice: the page does not change it any more. */
  #chosen = { isNew: false, names: false, runs: false };

  constructor() {
    this.#new.addEventListener("change", () => {
      this.#chosen.isNew = true;
      this.#update();
    });
    this.#names.addEventListener("input", () => {
      this.#chosen.names = this.#names.value.trim() !== "";
      this.#update();
    });
    this.#part.addEventListener("change", () => this.#update());
    this.#runs.addEventListener("change", () => {
      this.#chosen.runs = true;
      this.#update();
    });
    this.#update();
  }

  /** The current choices. The form checks them. */
  read(): Pick<Settings, "fineTuning" | "runs"> {
    const classes = this.#new.checked ? classesIn(this.#names.value) : undefined;
    const train = trainedParts.find((part) => part === this.#part.value) ?? "all";
    const fineTuning: FineTuning = {
      train,
      ...(classes && { classes }),
      ...(train === "lora" && {
        lora: { rank: this.#rank.valueAsNumber, alpha: this.#alpha.valueAsNumber },
      }),
    };
    return { fineTuning, runs: runChoices[this.#runs.value] ?? runNames };
  }

  /** Shows the choices of a run. */
  show({ fineTuning = { train: "all" }, runs = runNames }: Settings): void {
    const { classes, train, lora } = fineTuning;
    if (lora) {
      this.#rank.valueAsNumber = lora.rank;
      this.#alpha.valueAsNumber = lora.alpha;
    }
    this.#new.checked = classes !== undefined;
    if (classes) this.#names.value = classes.join("\n");
    this.#part.value = train;
    const choice = Object.entries(runChoices).find(([, names]) => names.join() === runs.join());
    this.#runs.value = choice?.[0] ?? "both";
    this.#chosen = { isNew: true, names: classes !== undefined, runs: true };
    this.#update();
  }

  /** Shows whether a model can get new classes. */
  fitModel(model: ModelSummary): void {
    this.#model = model;
    this.#chosen = { ...this.#chosen, isNew: false };
    this.#suggest();
  }

  /** Takes the names of the classes from the folders of images, unless the user typed other ones. */
  fitData({ names }: DataSummary): void {
    if (names && this.#chosen.names) this.#names.value = followed(this.#names.value, this.#folders, names);
    else if (names) this.#names.value = names.join("\n");
    this.#folders = names;
    this.#suggest();
  }

  /** Chooses new classes if the folders name others than the model has. */
  #suggest(): void {
    const { head, classes } = this.#model ?? {};
    if (!this.#chosen.isNew) {
      const folders = this.#folders;
      const differ = classes
        ? folders?.some((name) => !classes.includes(name))
        : typeof head === "object" && folders && folders.length !== head.units;
      this.#new.checked = typeof head === "object" && differ === true;
    }
    this.#update();
  }

  #update(): void {
    const { head } = this.#model ?? {};
    const can = typeof head === "object";
    this.#new.disabled = !can;
    if (!can) this.#new.checked = false;
    const lastLayer = this.#part.querySelector<HTMLOptionElement>('option[value="head"]');
    if (lastLayer) lastLayer.disabled = !can;
    if (!can && this.#part.value === "head") this.#part.value = "all";
    const adapts = this.#model?.kind === "model";
    const adapters = this.#part.querySelector<HTMLOptionElement>('option[value="lora"]');
    if (adapters) adapters.disabled = !adapts;
    if (!adapts && this.#part.value === "lora") this.#part.value = "all";
    const isLora = this.#part.value === "lora";
    for (const field of this.#loraFields) field.hidden = !isLora;
    // Hidden fields are not checked.
    for (const input of [this.#rank, this.#alpha]) input.disabled = !isLora;
    const isNew = this.#new.checked;
    this.#field.hidden = !isNew;
    setText(this.#headNote, this.#headText());
    const names = classesIn(this.#names.value);
    const wrong = this.#folders && mismatch(names, this.#folders);
    const few = names.length < 2 ? "give at least two classes" : "";
    const unknown = wrong?.startsWith("no such class") ? wrong : "";
    this.#names.setCustomValidity(isNew ? few || unknown : "");
    setText(this.#namesNote, isNew ? few || wrong || `${names.length} classes` : "");
    if (!this.#chosen.runs) this.#runs.value = isNew || this.#part.value !== "all" ? "plain" : "both";
    byId("penalty-controls", HTMLFieldSetElement).hidden = this.#runs.value === "plain";
  }

  #headText(): string {
    const { head, classes } = this.#model ?? {};
    if (head === undefined) return "";
    if (typeof head === "string") return `No new classes: ${head}`;
    const own = classes ? `: ${classes.slice(0, 6).join(", ")}${classes.length > 6 ? " …" : ""}` : "";
    return this.#new.checked
      ? `A fresh last layer (${head.layer}) takes the place of the ${head.units} classes that the model has.`
      : `The model keeps its ${head.units} classes${own}.`;
  }
}
