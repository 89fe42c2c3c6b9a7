import { runStyles } from "../charts/theme.ts";
import { byId, el, setText } from "../dom.ts";
import { count, degrees, loss, percent, speed } from "../format.ts";
import type { History } from "../history.ts";
import { type DownloadName, type PerRun, type Progress, type RunName, runNames } from "../protocol.ts";

const rows = {
  accuracy: "Test accuracy",
  testLoss: "Test loss",
  trainingLoss: "Training loss (without penalty)",
  response: "Response angles, distance from 90°",
  weight: "Weight angles, distance from 90°",
  measured: "Measured after step",
  step: "Steps",
  speed: "Speed",
} as const;
type Row = keyof typeof rows;

/** Steps over which the shown training loss is averaged. */
const recent = 50;

/** The figures of both runs side by side, and the buttons for downloads. */
export class FiguresTable {
  readonly #cells: Record<Row, PerRun<HTMLElement>>;
  readonly #buttons: readonly HTMLButtonElement[];
  readonly #adapters: readonly HTMLButtonElement[];
  readonly #adapterRow: HTMLTableRowElement;
  readonly #injected: HTMLButtonElement;

  /** @param download - called when the user asks for a file */
  constructor(download: (what: DownloadName) => void) {
    const cell = (row: Row, run: RunName) => el("td", { "data-figure": row, "data-run": run }, "–");
    const cells = Object.keys(rows).map((row) => [
      row,
      { plain: cell(row as Row, "plain"), som: cell(row as Row, "som") },
    ]);
    this.#cells = Object.fromEntries(cells) as Record<Row, PerRun<HTMLElement>>;
    const button = (what: DownloadName, text: string, label: string) => {
      const element = el(
        "button",
        { type: "button", disabled: true, "aria-label": label, "data-download": what },
        text,
      );
      element.addEventListener("click", () => download(what));
      return element;
    };
    this.#buttons = runNames.map((run) =>
      button(run, "Download", `Download the ${runStyles[run].label} model`),
    );
    this.#adapters = runNames.map((run) =>
      button(`${run}-adapter`, "Download", `Download the adapter of the ${runStyles[run].label} run`),
    );
    this.#adapterRow = el(
      "tr",
      { hidden: true },
      el("th", { scope: "row" }, "Adapter alone (for PEFT, .zip)"),
      ...runNames.map((run, i) => el("td", { "data-run": run }, this.#adapters[i] ?? "")),
    );
    this.#injected = button("injected", "Download the injected model", "Download the injected model");
    const head = runNames.map((run) =>
      el("th", { scope: "col", class: run, "data-run": run }, runStyles[run].label),
    );
    byId("figures", HTMLElement).append(
      el(
        "div",
        { class: "scroller", tabindex: "0", role: "region", "aria-label": "Figures of both runs" },
        el(
          "table",
          { class: "figures" },
          el("thead", {}, el("tr", {}, el("td"), ...head)),
          el(
            "tbody",
            {},
            ...Object.entries(rows).map(([row, title]) => {
              const own = this.#cells[row as Row];
              return el("tr", {}, el("th", { scope: "row" }, title), own.plain, own.som);
            }),
            el(
              "tr",
              {},
              el("th", { scope: "row" }, "Trained model, as it stands"),
              ...runNames.map((run, i) => el("td", { "data-run": run }, this.#buttons[i] ?? "")),
            ),
            this.#adapterRow,
          ),
        ),
      ),
      el(
        "p",
        { class: "note downloads" },
        this.#injected,
        " The untrained model with SOM as the output sorth_penalty, for any training loop.",
      ),
    );
  }

  /** @param weight - w, which is needed to show the loss without w·R */
  show(history: History, progress: Progress | undefined, weight: number, testSamples: number): void {
    for (const run of runNames) {
      const test = history.tests(run).at(-1);
      const steps = history.steps(run).slice(-recent);
      const data = steps.map((point) => dataLoss(run, point, weight));
      const mean = data.reduce((a, b) => a + b, 0) / data.length;
      const text = (value: number | undefined, format: (value: number) => string) =>
        value === undefined || Number.isNaN(value) ? "–" : format(value);
      const figures: Record<Row, string> = {
        accuracy: text(test?.accuracy, (share) => percent(share, testSamples)),
        testLoss: text(test?.loss, loss),
        trainingLoss: text(data.length > 0 ? mean : undefined, loss),
        response: text(test?.responseDistance, degrees),
        weight: text(test?.weightDistance, degrees),
        measured: text(test?.step, count),
        step: text(progress?.steps[run], (step) => `${count(step)} of ${count(progress?.totalSteps ?? 0)}`),
        speed: text(progress?.stepsPerSecond[run], speed),
      };
      for (const [row, figure] of Object.entries(figures)) setText(this.#cells[row as Row][run], figure);
    }
  }

  /** Enables the downloads that are available now. */
  enable(available: {
    readonly injected: boolean;
    readonly trained: boolean;
    /** The displayed run trains adapters. */
    readonly adapters: boolean;
  }): void {
    this.#injected.disabled = !available.injected;
    this.#adapterRow.hidden = !available.adapters;
    for (const button of [...this.#buttons, ...this.#adapters]) button.disabled = !available.trained;
  }
}

/** The loss of the data alone: a run with a penalty reports loss + w·R. */
export const dataLoss = (
  run: RunName,
  { loss: total, penalty }: { readonly loss: number; readonly penalty: number },
  weight: number,
): number => (run === "som" ? total - weight * penalty : total);
