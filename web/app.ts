import { formatBytes } from "../src/report/byte-count.ts";
import { TrainingWorker } from "./client.ts";
import { byId, setText } from "./dom.ts";
import { History } from "./history.ts";
import {
  type ChosenFile,
  type DataSource,
  type DataSummary,
  type DownloadName,
  type Equipment,
  type Measurement,
  type ModelSource,
  type ModelSummary,
  type Phase,
  type Progress,
  type Report,
  runNames,
  type Settings,
} from "./protocol.ts";
import { Controls } from "./run/controls.ts";
import { Curves } from "./run/curves.ts";
import { FiguresTable } from "./run/figures-table.ts";
import { KeptBanner } from "./run/kept-banner.ts";
import { LayersTable } from "./run/layers-table.ts";
import { Messages } from "./run/messages.ts";
import { Pictures } from "./run/pictures.ts";
import { TryPanel } from "./run/try-panel.ts";
import { saveFile } from "./save-file.ts";
import { DataPanel } from "./setup/data-panel.ts";
import { sortedFiles, takeDrops } from "./setup/drop.ts";
import { FineTuningPanel } from "./setup/fine-tuning-panel.ts";
import { ModelPanel } from "./setup/model-panel.ts";
import { SettingsPanel } from "./setup/settings-panel.ts";
import { environmentText, phaseText, progressText } from "./status-text.ts";

/** The page: sends the user's requests to the worker, and shows its reports. */
export class App {
  readonly #worker = new TrainingWorker((report) => this.#take(report));
  readonly #messages = new Messages();
  readonly #model = new ModelPanel((source) => this.#openModel(source));
  readonly #data = new DataPanel(() => this.#openData());
  readonly #settings = new SettingsPanel();
  readonly #fineTuning = new FineTuningPanel();
  readonly #controls = new Controls({
    train: () => this.#train(),
    pause: () => this.#worker.send({ type: "pause" }),
    resume: () => this.#worker.send({ type: "resume" }),
    reset: () => this.#reset(),
  });
  readonly #figures = new FiguresTable((what) => this.#download(what));
  readonly #curves = new Curves();
  readonly #layers = new LayersTable();
  readonly #pictures = new Pictures((layer) => this.#worker.send({ type: "select-layer", layer }));
  readonly #try = new TryPanel((run, image) => this.#worker.send({ type: "classify", run, image }));
  readonly #banner = new KeptBanner(
    () => this.#restore(),
    () => this.#worker.send({ type: "discard" }),
  );
  #phase: Phase = "idle";
  /** The worker's message about the current phase. */
  #reason = "";
  /** Numbers of the last requests to open something: reports about earlier files are ignored. */
  #opening = { last: 0, model: 0, data: 0 };
  /** Whether the worker is reading a model or data. */
  #reading = { model: false, data: false };
  /** The user pressed Train during reading: training begins afterwards. */
  #wanted = false;
  #history = new History();
  #progress: Progress | undefined;
  /** The source of the loaded model, and the source requested last. */
  #source: ModelSource | undefined;
  #asked: ModelSource | undefined;
  #summary: ModelSummary | undefined;
  #samples: DataSummary | undefined;
  /** Settings of the displayed run. */
  #running: Settings | undefined;
  /** The GPU was lost: the kept run will continue without it. */
  #lost = false;

  /** Starts the worker, and opens the first sample. */
  start(): void {
    takeDrops((files, target) => {
      if (!this.#try.takeDrop(files, target)) this.#dropped(files);
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#worker.send({ type: "save" });
    });
    this.#worker.start();
    this.#data.takeMnist();
    this.#model.takeSample("mlp");
    this.#setPhase("idle", "");
    this.#showRun();
  }

  /** The settings of a run; undefined if something is missing or wrong, which the browser then points out. */
  #readSettings(): Settings | undefined {
    const settings = this.#settings.read();
    return settings && { ...settings, ...this.#fineTuning.read() };
  }

  /** Whether a run can begin. */
  get #canTrain(): boolean {
    return this.#summary !== undefined && this.#samples !== undefined && !this.#isReading;
  }

  get #isReading(): boolean {
    return this.#reading.model || this.#reading.data;
  }

  /** Requests a model. The loaded one stays until the worker has opened the new one. */
  #openModel(source: ModelSource): void {
    this.#asked = source;
    this.#messages.alert("");
    this.#sendModel(source);
    this.#refresh();
  }

  #openData(): void {
    this.#samples = undefined;
    const { source } = this.#data;
    this.#reading.data = false;
    if (source && this.#summary) {
      this.#data.wait();
      this.#sendData(source);
    }
    // New data end the display of a finished run.
    this.#setPhase("idle", "");
  }

  #sendModel(source: ModelSource): void {
    const id = ++this.#opening.last;
    this.#opening.model = id;
    this.#reading.model = true;
    this.#worker.send({ type: "open-model", id, source });
  }

  #sendData(source: DataSource): void {
    const id = ++this.#opening.last;
    this.#opening.data = id;
    this.#reading.data = true;
    this.#worker.send({ type: "open-data", id, source });
  }

  #dropped(files: readonly ChosenFile[]): void {
    if (this.#phase === "running" || this.#phase === "paused" || this.#phase === "starting") {
      this.#messages.alert("Reset the run before you drop other files.");
      return;
    }
    const { archive, hasImages, models } = sortedFiles(files);
    if (archive) this.#data.takeOwn({ kind: "npz", file: archive });
    else if (hasImages) this.#data.takeImages(files);
    if (models) this.#model.takeFiles(models);
  }

  #train(): void {
    const settings = this.#readSettings();
    this.#wanted = settings !== undefined && !this.#canTrain && this.#isReading;
    if (this.#wanted) this.#refresh();
    if (!settings || !this.#canTrain) return;
    this.#clearRun();
    this.#messages.clear();
    this.#banner.hide();
    this.#running = settings;
    this.#worker.send({ type: "start", settings });
    this.#setPhase("starting", "");
  }

  #reset(): void {
    this.#worker.send({ type: "reset" });
    this.#clearRun();
  }

  #restore(): void {
    this.#clearRun();
    this.#messages.clear();
    const id = ++this.#opening.last;
    Object.assign(this.#opening, { model: id, data: id });
    this.#reading = { model: false, data: false };
    this.#wanted = false;
    this.#worker.send({ type: "restore", id, ...(this.#lost && { backend: "wasm" }) });
    this.#setPhase("starting", "");
  }

  #download(what: DownloadName): void {
    const settings = this.#readSettings();
    if (settings) this.#worker.send({ type: "download", what, settings });
  }

  /** Reaction to each kind of report. */
  readonly #reactions: {
    readonly [Type in Report["type"]]: (report: Extract<Report, { type: Type }>) => void;
  } = {
    ready: (equipment) => this.#ready(equipment),
    saved: ({ run }) => (run ? this.#banner.show(run) : this.#banner.hide()),
    model: ({ id, summary }) => {
      if (id === this.#opening.model) this.#takeModel(summary);
    },
    "model-refused": ({ id, message }) => {
      if (id !== this.#opening.model) return;
      this.#reading.model = false;
      this.#wanted = false;
      this.#model.refuse(message);
      if (!this.#summary) this.#data.waitForModel();
      if (this.#phase === "starting") this.#setPhase("idle", "");
      else this.#refresh();
    },
    data: ({ id, summary }) => {
      if (id !== this.#opening.data) return;
      this.#reading.data = false;
      this.#samples = summary;
      this.#data.show(summary);
      this.#fineTuning.fitData(summary);
      this.#refresh();
      if (this.#wanted && this.#canTrain) this.#train();
    },
    "data-refused": ({ id, message }) => {
      if (id !== this.#opening.data) return;
      this.#reading.data = false;
      this.#wanted = false;
      this.#data.refuse(message);
      this.#setPhase("idle", "");
    },
    phase: ({ phase, message }) => {
      // The report of a last step may have arrived after the reset: clear the figures again.
      if (phase === "idle") this.#clearRun();
      this.#setPhase(phase, message);
    },
    restored: ({ settings, history, data }) => {
      this.#settings.show(settings);
      this.#fineTuning.show(settings);
      this.#data.showKept(data);
      this.#running = settings;
      this.#history = new History(history);
      if (!data) this.#setPhase("idle", "");
      this.#showRun();
    },
    steps: ({ points, progress }) => {
      for (const run of runNames) this.#history.addSteps(run, points[run]);
      this.#progress = progress;
      this.#showRun();
    },
    measured: ({ measurement }) => this.#measured(measurement),
    classified: ({ answer }) => this.#try.show(answer),
    "run-stopped": ({ run, message }) =>
      this.#messages.alert(`The run ${run === "som" ? "with SOM" : "without penalty"} stopped: ${message}`),
    notice: ({ message, failed }) => (failed ? this.#messages.alert(message) : this.#messages.note(message)),
    file: ({ name, bytes }) => {
      saveFile(name, bytes);
      this.#messages.note(`${name}, ${formatBytes(bytes.length)}: downloaded`);
    },
    broken: ({ message, lost }) => this.#restart(message, lost),
  };

  #take<Type extends Report["type"]>(report: Extract<Report, { type: Type }>): void {
    const react = this.#reactions[report.type as Type] as (report: Extract<Report, { type: Type }>) => void;
    react(report);
  }

  #ready({ threads, webgpu: missing, optimizers, clips }: Equipment): void {
    this.#settings.showBackends(threads, missing);
    this.#settings.offer(optimizers, clips);
    byId("environment", HTMLElement).textContent = environmentText(threads, missing === undefined);
  }

  /** The worker has opened a model: that of a kept run, or the requested one, for which data are then read. */
  #takeModel(summary: ModelSummary): void {
    this.#reading.model = false;
    this.#summary = summary;
    this.#model.show(summary);
    this.#settings.fit(summary);
    this.#fineTuning.fitModel(summary);
    this.#pictures.offer(summary.layers);
    if (this.#phase === "starting") {
      this.#model.showKept(summary.name);
      this.#refresh();
      return;
    }
    this.#source = this.#asked;
    this.#clearRun();
    this.#openData();
  }

  #measured(measurement: Measurement): void {
    const { run, test } = measurement;
    this.#history.addTest(run, test);
    this.#layers.show(measurement);
    this.#pictures.show(measurement);
    this.#showRun();
    this.#messages.speak(progressText(this.#progress, this.#history), false);
  }

  /** Shows the figures of the run. */
  #showRun(): void {
    const weight = this.#running?.weight ?? 0;
    const runs = this.#running?.runs ?? runNames;
    byId("run", HTMLElement).dataset.runs = runs.join(" ");
    setText(byId("figures-title", HTMLElement), runs.length > 1 ? "Both runs" : "The run");
    this.#figures.show(this.#history, this.#progress, weight, this.#samples?.test ?? 1000);
    this.#curves.show(this.#history, weight);
    this.#controls.progress(this.#progress);
    if (this.#phase === "running") this.#controls.status(progressText(this.#progress, this.#history));
  }

  #clearRun(): void {
    this.#history = new History();
    this.#progress = undefined;
    this.#layers.clear();
    this.#pictures.clear();
    this.#showRun();
  }

  /** Updates the controls after a model or data came or went. */
  #refresh(): void {
    this.#setPhase(this.#phase, this.#reason);
  }

  #setPhase(phase: Phase, message: string): void {
    const changed = phase !== this.#phase;
    this.#phase = phase;
    this.#reason = message;
    this.#controls.show(phase, this.#canTrain || this.#isReading);
    const trained = phase === "running" || phase === "paused" || phase === "finished";
    const adapters = this.#running?.fineTuning?.train === "lora";
    this.#figures.enable({ injected: this.#summary !== undefined, trained, adapters });
    this.#try.offer(trained && this.#summary?.takesImages === true, this.#running?.runs ?? runNames);
    const read = { ready: this.#canTrain, reading: this.#isReading, wanted: this.#wanted };
    const text = phaseText(phase, read, progressText(this.#progress, this.#history));
    this.#controls.status(text);
    if (phase === "failed") this.#messages.alert(message);
    if (changed) this.#messages.speak(text, true);
  }

  /** The worker cannot continue: starts another one, which offers the kept run. */
  #restart(message: string, lost: boolean): void {
    this.#lost = lost;
    this.#worker.start();
    if (lost) this.#settings.takeWasm();
    this.#wanted = false;
    this.#reading = { model: false, data: false };
    const source = this.#source;
    this.#asked = source;
    if (source) this.#sendModel(source);
    if (source && this.#data.source) this.#sendData(this.#data.source);
    const advice = lost
      ? "If the browser kept the run, continue it above with WebAssembly; to use the GPU, reload the page."
      : "Start training again, or continue the run above if the browser kept it.";
    this.#setPhase("failed", `${message}. ${advice}`);
  }
}
