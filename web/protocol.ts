/**
 * The messages between the page and its worker. Each side sends without waiting for an answer; the worker reports the result
 * of a request later.
 */
import type { webBackends } from "../src/passes/backends/names.ts";
import type { Normalization } from "../src/web.ts";
import type { HistoryJson, StepPoint, TestPoint } from "./history.ts";

/** The two runs of one model: the same weights, the same batches, without and with the penalty. */
export const runNames = ["plain", "som"] as const;
export type RunName = (typeof runNames)[number];

/** Both runs, by name. */
export type PerRun<T> = Readonly<Record<RunName, T>>;

/** The runs that are trained, by name. */
export type SomeRuns<T> = Partial<PerRun<T>>;

/** A file, with its path relative to the chosen folder. */
export interface ChosenFile {
  readonly path: string;
  readonly content: Blob;
}

export const sampleNames = ["mlp", "cnn", "pointnet"] as const;
export type SampleName = (typeof sampleNames)[number];

/** The source of a model. */
export type ModelSource =
  | { readonly kind: "sample"; readonly name: SampleName }
  /** The files of a model with its external data, or of a training model with its checkpoint. */
  | { readonly kind: "files"; readonly files: readonly ChosenFile[] };

/** An image with the name of the class that it shows. */
export interface ClassImage extends ChosenFile {
  readonly class: string;
  /** It lies in a folder for tests (`test`, `val`, `validation`). */
  readonly held: boolean;
}

/** The source of data. */
export type DataSource =
  | { readonly kind: "mnist"; readonly train: number; readonly test: number }
  | { readonly kind: "npz"; readonly file: ChosenFile }
  | { readonly kind: "images"; readonly name: string; readonly images: readonly ClassImage[] };

/** Options of SOM, in the library's form. */
export interface SomSettings {
  readonly lambda1: number;
  readonly lambda2: number;
  readonly gamma: number;
  readonly reduction: "mean" | "sum";
}

export type BackendName = (typeof webBackends)[number];

/** How pixels are scaled: as the model records, else as the library decides from the data; or as chosen. */
export type NormalizationChoice = "auto" | "imagenet" | "-1..1" | Exclude<Normalization, object>;

/** Which weights a run trains. */
export const trainedParts = ["all", "head", "lora"] as const;

/** How a model is fine-tuned. */
export interface FineTuning {
  /** Names of new classes by label; without them the model keeps its own. */
  readonly classes?: readonly string[];
  /** All weights, those of the last layer, or adapters beside frozen layers (and a new last layer). */
  readonly train: (typeof trainedParts)[number];
  /** Rank and alpha of the adapters. */
  readonly lora?: { readonly rank: number; readonly alpha: number };
}

/** Settings of both runs. */
export interface Settings {
  readonly som: SomSettings;
  /** w of loss + w·R. */
  readonly weight: number;
  /** Whether SOM also acts on layers whose responses are outputs of the model. */
  readonly onOutputs: boolean;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  /** A name from the library's table. */
  readonly optimizer: string;
  /** Limits for gradients, applied before the optimizer, by the flag of the command line; without it nothing is clipped. */
  readonly clip?: Readonly<Record<string, number>>;
  readonly seed: number;
  readonly normalize: NormalizationChoice;
  readonly backend: BackendName;
  /** One of the model's {@link ModelSummary.losses}. */
  readonly loss: string;
  /** Absent in runs that an older page kept: then nothing of the model changes, and both runs are trained. */
  readonly fineTuning?: FineTuning;
  readonly runs?: readonly RunName[];
}

/** The layer whose units are the classes. */
export interface HeadSummary {
  readonly layer: string;
  readonly units: number;
  readonly fanIn: number;
}

/** A layer, and whether SOM acts on it. */
export interface LayerSummary {
  readonly name: string;
  readonly op: string;
  readonly units: number;
  readonly fanIn: number;
  /** True, or why the penalty does not apply. */
  readonly penalty: true | string;
}

/** What the page shows about a model that can be trained. */
export interface ModelSummary {
  readonly name: string;
  readonly kind: "model" | "injected" | "training-artifact";
  readonly bytes: number;
  readonly opset: number;
  readonly producer: string;
  readonly input: string;
  readonly layers: readonly LayerSummary[];
  /** Trained tensors, and the total number of their elements. */
  readonly parameters: { readonly tensors: number; readonly numbers: number };
  /** The classifier's last layer, or why the model cannot get new classes. */
  readonly head: HeadSummary | string;
  /** Whether its input can be an image. */
  readonly takesImages: boolean;
  /** Names of the classes, if the file records them. */
  readonly classes: readonly string[] | undefined;
  /** Losses that can be minimized; the first is the usual one. `output NAME` is a loss of the model's own. */
  readonly losses: readonly string[];
  /** Settings that the file decides: controls show these and are locked. */
  readonly fixed: {
    readonly batch?: number;
    readonly som?: SomSettings;
    /** Weight of an injected penalty; the user can change it. */
    readonly weight?: number;
    readonly optimizer?: string;
    readonly learningRate?: number;
  };
  /** Advice and remarks from the library. */
  readonly remarks: readonly string[];
}

/** What the page shows about data that fit the model. */
export interface DataSummary {
  readonly name: string;
  readonly train: number;
  readonly test: number;
  readonly sample: string;
  readonly classes: number | undefined;
  /** Names of the classes by label, where folders name them. */
  readonly names: readonly string[] | undefined;
  readonly remarks: readonly string[];
}

/** Angles of one layer, in degrees; see AngleStatistics of the library. */
export interface AngleFigures {
  readonly mean: number;
  readonly spread: number;
  readonly pairs: number;
  readonly dead: number;
  readonly histogram: readonly number[];
}

/** Angles of one layer of one run. */
export interface LayerAngles {
  readonly name: string;
  readonly op: string;
  readonly units: number;
  readonly fanIn: number;
  readonly weight: AngleFigures | undefined;
  readonly response: AngleFigures | undefined;
}

/** Cosines of the responses of a layer's units. */
export interface CosineMatrix {
  readonly layer: string;
  /** Number of units shown; `units` is the number of all. */
  readonly size: number;
  readonly units: number;
  /** [size, size] */
  readonly values: Float32Array;
}

/** Weight vectors of a layer as pictures. */
export interface FilterPictures {
  readonly layer: string;
  readonly units: number;
  readonly channels: 1 | 3;
  readonly height: number;
  readonly width: number;
  /** [units, channels, height, width] */
  readonly values: Float32Array;
}

/** Measurements of one run. */
export interface Measurement {
  readonly run: RunName;
  readonly test: TestPoint;
  readonly layers: readonly LayerAngles[];
  readonly cosines: CosineMatrix | undefined;
  readonly filters: FilterPictures | undefined;
}

/** Progress of the runs. */
export interface Progress {
  readonly steps: SomeRuns<number>;
  readonly totalSteps: number;
  readonly epochs: number;
  readonly stepsPerSecond: SomeRuns<number>;
  readonly backend: string;
}

/** A run that the browser has kept. */
export interface SavedRun {
  readonly model: string;
  readonly data: string;
  /** The data are the user's own: the user has to choose them again. */
  readonly ownData: boolean;
  readonly step: number;
  readonly totalSteps: number;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
}

/** What can be downloaded: the model with the penalty, the model of a run, or the adapter of a run. */
export type DownloadName = "injected" | RunName | `${RunName}-adapter`;

/** The answer of a trained model to an image. */
export interface Answer {
  readonly run: RunName;
  readonly step: number;
  /** The likeliest classes, or all numbers of a model that tells no classes. */
  readonly scores: readonly { readonly name: string; readonly score: number }[];
  /** Whether scores are shares of 1. */
  readonly areShares: boolean;
}

/** Capabilities of the worker. */
export interface Equipment {
  readonly threads: number;
  /** Why there is no WebGPU; undefined if there is. */
  readonly webgpu: string | undefined;
  /** The library's optimizers and ways to clip gradients: names, and titles to show. */
  readonly optimizers: readonly { readonly name: string; readonly title: string }[];
  readonly clips: readonly { readonly flag: string; readonly title: string }[];
}

export type Phase = "idle" | "starting" | "running" | "paused" | "finished" | "failed";

/**
 * Messages from the page to the worker. Each opened model or dataset has a number, and so have its reports: only the last one
 * counts.
 */
export type Request =
  /** The first message: the address of the page's folder. */
  | { readonly type: "begin"; readonly base: string }
  | { readonly type: "open-model"; readonly id: number; readonly source: ModelSource }
  | { readonly type: "open-data"; readonly id: number; readonly source: DataSource }
  | { readonly type: "start"; readonly settings: Settings }
  | { readonly type: "pause" | "resume" | "reset" }
  /** The page is hidden and may be closed: save. */
  | { readonly type: "save" }
  | { readonly type: "select-layer"; readonly layer: string }
  | { readonly type: "download"; readonly what: DownloadName; readonly settings: Settings }
  /** Asks the model of a run, as it stands, about an image. */
  | { readonly type: "classify"; readonly run: RunName; readonly image: Blob }
  /** Continues the kept run, on `backend` if it is given, else on its former backend. */
  | { readonly type: "restore"; readonly id: number; readonly backend?: BackendName }
  | { readonly type: "discard" };

/** Messages from the worker to the page. */
export type Report =
  | ({ readonly type: "ready" } & Equipment)
  | { readonly type: "saved"; readonly run: SavedRun | undefined }
  | { readonly type: "model"; readonly id: number; readonly summary: ModelSummary }
  | { readonly type: "model-refused"; readonly id: number; readonly message: string }
  | { readonly type: "data"; readonly id: number; readonly summary: DataSummary }
  | { readonly type: "data-refused"; readonly id: number; readonly message: string }
  | { readonly type: "phase"; readonly phase: Phase; readonly message: string }
  /** A kept run: its settings and curves, and the source of its data unless the user has to choose them again. */
  | {
      readonly type: "restored";
      readonly settings: Settings;
      readonly history: HistoryJson;
      readonly data: DataSource | undefined;
    }
  | { readonly type: "steps"; readonly points: PerRun<readonly StepPoint[]>; readonly progress: Progress }
  | { readonly type: "measured"; readonly measurement: Measurement }
  /** The answer to `classify`, or why there is none. */
  | { readonly type: "classified"; readonly answer: Answer | string }
  /** One run cannot continue: its loss is NaN or infinite. */
  | { readonly type: "run-stopped"; readonly run: RunName; readonly message: string }
  /** A remark; `failed` if a request could not be fulfilled and nothing else changed. */
  | { readonly type: "notice"; readonly message: string; readonly failed?: true }
  | { readonly type: "file"; readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The worker cannot continue; `lost` if the GPU device was lost. */
  | { readonly type: "broken"; readonly message: string; readonly lost: boolean };
