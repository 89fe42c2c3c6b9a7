import { clippings, optimizerFactories } from "../../src/optimizers/table.ts";
import { missingWebGpu } from "../../src/runtime/gpu-device-web.ts";
import { decodeModel, encodeModel, inject, type Model, SorthError } from "../../src/web.ts";
import { History } from "../history.ts";
import { type Report, type Request, runNames, type Settings } from "../protocol.ts";
import { Classifier } from "./classify.ts";
import { prepareRun } from "./fine-tune.ts";
import { describe } from "./keeper.ts";
import { forget, type KeptRun, keptRun, placeIsTaken } from "./kept-run.ts";
import { messageOf } from "./message-of.ts";
import { type OpenedData, openData } from "./open-data.ts";
import { type OpenedModel, openModel } from "./open-model.ts";
import { penaltyPlan } from "./run-options.ts";
import { threads } from "./runtime.ts";
import { summarizeModel } from "./summarize-model.ts";
import { trainedAdapter, trainedModel } from "./trained-model.ts";
import { Training } from "./training.ts";
import { Turns } from "./turns.ts";

type RequestOf<Type extends Request["type"]> = Extract<Request, { type: Type }>;

/** Handles the page's requests one after the other, and holds the model, the data and the pair of runs. */
export class Desk {
  readonly #tell: (report: Report) => void;
  readonly #turns = new Turns();
  #base = "";
  #opened: OpenedModel | undefined;
  #data: OpenedData | undefined;
  #training: Training | undefined;
  readonly #classifier = new Classifier();
  /** A kept run whose data the user has not chosen yet. */
  #waiting: KeptRun | undefined;

  constructor(tell: (report: Report) => void) {
    this.#tell = tell;
  }

  take(request: Request): void {
    // These requests act on the current run.
    if (request.type === "pause") this.#training?.pause();
    else if (request.type === "resume") this.#training?.resume();
    else void this.#turns.take(() => this.#work(request)).catch((error) => this.#fail(error, request));
  }

  async #work(request: Request): Promise<void> {
    switch (request.type) {
      case "begin":
        return this.#begin(request);
      case "open-model":
        await this.#openModel(request);
        return;
      case "open-data":
        return this.#openData(request);
      case "start":
        return this.#start(request.settings);
      case "reset":
        return this.#reset();
      case "save":
        return this.#training?.save();
      case "select-layer":
        return this.#training?.showLayer(request.layer);
      case "download":
        return this.#download(request);
      case "classify":
        return this.#classify(request);
      case "restore":
        return this.#restore(request);
      case "discard":
        this.#waiting = undefined;
        await forget();
        return this.#tell({ type: "saved", run: undefined });
    }
  }

  async #begin({ base }: RequestOf<"begin">): Promise<void> {
    this.#base = base;
    this.#tell({
      ...{ type: "ready", threads, webgpu: await missingWebGpu() },
      optimizers: optimizerFactories.map(({ definition: { name, title } }) => ({ name, title })),
      clips: clippings.map(({ flag, title }) => ({ flag, title })),
    });
    const kept = (await placeIsTaken()) ? undefined : await keptRun();
    this.#tell({ type: "saved", run: kept?.saved });
  }

  /** Opens a model and returns whether that worked. A refused model changes nothing. */
  async #openModel({ id, source }: RequestOf<"open-model">): Promise<boolean> {
    try {
      const opened = await openModel(source);
      const summary = await summarizeModel(opened);
      await this.#end();
      this.#opened = opened;
      this.#data = undefined;
      this.#waiting = undefined;
      this.#tell({ type: "model", id, summary });
      return true;
    } catch (error) {
      this.#tell({ type: "model-refused", id, message: messageOf(error) });
      return false;
    }
  }

  async #openData({ id, source }: RequestOf<"open-data">): Promise<void> {
    const opened = this.#opened;
    if (!opened) return;
    await this.#end();
    this.#data = undefined;
    try {
      const data = await openData(source, opened, this.#base, (message) => this.#notice(message));
      this.#checkAwaited(data);
      this.#data = data;
      this.#tell({ type: "data", id, summary: data.summary });
    } catch (error) {
      this.#tell({ type: "data-refused", id, message: messageOf(error) });
      return;
    }
    const kept = this.#waiting;
    if (kept) await this.#train(kept.settings, kept);
  }

  /** @throws SorthError when a kept run needs other data */
  #checkAwaited(data: OpenedData): void {
    const kept = this.#waiting;
    if (!kept || !("own" in kept.data) || kept.data.own === describe(data)) return;
    throw new SorthError(
      `the run was begun with other data (${kept.data.own}); choose these to go on with it`,
    );
  }

  async #start(settings: Settings): Promise<void> {
    await this.#end();
    this.#waiting = undefined;
    await this.#train(settings, undefined);
  }

  async #train(settings: Settings, kept: KeptRun | undefined): Promise<void> {
    const [opened, data] = [this.#opened, this.#data];
    if (!opened || !data) return;
    this.#waiting = undefined;
    this.#tell({ type: "phase", phase: "starting", message: "" });
    const prepared = await prepareRun({ opened, data }, settings, (message) => this.#notice(message));
    const parts = { ...prepared, settings, history: new History(kept?.history) };
    const training = await Training.begin(parts, kept !== undefined, this.#tell);
    this.#training = training;
    // Trains while the desk handles other requests.
    void training.run().catch((error) => this.#fail(error));
  }

  async #reset(): Promise<void> {
    await this.#end();
    this.#waiting = undefined;
    await forget();
    this.#tell({ type: "phase", phase: "idle", message: "" });
  }

  async #end(): Promise<void> {
    const training = this.#training;
    this.#training = undefined;
    await training?.stop();
  }

  async #restore({ id, backend }: RequestOf<"restore">): Promise<void> {
    const kept = await keptRun();
    if (!kept) throw new SorthError("the browser does not have the run any more");
    const settings = backend ? { ...kept.settings, backend } : kept.settings;
    if (!(await this.#openModel({ type: "open-model", id, source: kept.model }))) return;
    const data = "own" in kept.data ? undefined : kept.data.source;
    this.#tell({ type: "restored", settings, history: kept.history, data });
    this.#waiting = { ...kept, settings };
    if (data) await this.#openData({ type: "open-data", id, source: data });
    else if ("own" in kept.data) this.#notice(`to go on, choose the data again: ${kept.data.own}`);
  }

  async #download({ what, settings }: RequestOf<"download">): Promise<void> {
    const opened = this.#opened;
    if (!opened) return;
    if (what === "injected") {
      const penalties = [penaltyPlan(opened, settings)];
      const model = opened.injected ?? (await inject(opened.original, { penalties }));
      this.#send(`${opened.name}-injected.onnx`, model);
      return;
    }
    const training = this.#training;
    const run = runNames.find((name) => what.startsWith(name)) ?? "plain";
    await training?.withTrainer(run, async (trainer) => {
      const name = `${opened.name}-${what}-step-${trainer.steps}`;
      if (what.endsWith("-adapter")) {
        this.#tell({ type: "file", name: `${name}.zip`, bytes: await trainedAdapter(trainer) });
      } else this.#send(`${name}.onnx`, await trainedModel(trainer, training.parts));
    });
  }

  async #classify({ run, image }: RequestOf<"classify">): Promise<void> {
    const training = this.#training;
    if (!training) return this.#tell({ type: "classified", answer: "there is no run: press Train first" });
    try {
      const answer = await training.withTrainer(run, (trainer) =>
        this.#classifier.ask(run, image, trainer, training.parts),
      );
      this.#tell({ type: "classified", answer });
    } catch (error) {
      this.#tell({ type: "classified", answer: messageOf(error) });
    }
  }

  #send(name: string, model: Model): void {
    const bytes = encodeModel(model).slice();
    // Looks at the encoded file: merged weights are inside it, and may have been the only ones that lay in another file.
    const external = [...decodeModel(bytes).externalLocations];
    if (external.length > 0) this.#notice(`${name} needs ${external.join(", ")} beside it`);
    this.#tell({ type: "file", name, bytes });
  }

  #notice(message: string): void {
    this.#tell({ type: "notice", message });
  }

  /** Reports an error. It ends a run only if the run's start or training failed. */
  #fail(error: unknown, request?: Request): void {
    const message = messageOf(error);
    const beside = ["download", "select-layer", "save", "discard"];
    if (request && beside.includes(request.type)) this.#tell({ type: "notice", message, failed: true });
    else this.#tell({ type: "phase", phase: "failed", message });
  }
}
