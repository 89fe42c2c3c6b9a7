import { loadClassImages } from "../../src/data/images-web.ts";
import { objectiveNamed, objectiveNames } from "../../src/losses/table.ts";
import { type Model, predict, SorthError, type Trainer } from "../../src/web.ts";
import type { Answer, RunName } from "../protocol.ts";
import type { RunParts } from "./keeper.ts";
import { imageConversion } from "./open-data.ts";
import { classNamesOf, trainedModel } from "./trained-model.ts";

/** Most scores of an answer. */
const most = 5;

/** Asks the models of a training about images. A model is exported again only after further steps. */
export class Classifier {
  #last: { readonly trainer: Trainer; readonly step: number; readonly model: Model } | undefined;

  /** @throws SorthError for what is no image, and for a model that takes none */
  async ask(run: RunName, image: Blob, trainer: Trainer, parts: RunParts): Promise<Answer> {
    const { opened, settings } = parts;
    const { shape, fit } = imageConversion(opened.inspection.inputs[0]?.shape.slice(1) ?? []);
    const file = { path: "the image", content: image, label: 0 };
    const images = { name: "the image", classes: ["any"], train: [file], test: [] };
    const { train } = await loadClassImages(images, { shape, resize: fit });
    const step = trainer.steps;
    if (this.#last?.trainer !== trainer || this.#last.step !== step) {
      this.#last = { trainer, step, model: await trainedModel(trainer, parts) };
    }
    const { normalize } = trainer.options;
    const objective = objectiveNames.includes(settings.loss) ? objectiveNamed(settings.loss) : undefined;
    const options = { ...(normalize !== undefined && { normalize }), ...(objective && { objective }) };
    for await (const { scores, answer } of predict(this.#last.model, train, options)) {
      const names = classNamesOf(parts);
      const all = scores.map((score, label) => ({ name: names?.[label] ?? `class ${label}`, score }));
      const sorted = all.sort((a, b) => b.score - a.score).slice(0, most);
      return { run, step, scores: sorted, areShares: answer !== undefined };
    }
    throw new SorthError("the model gives no answer");
  }
}
