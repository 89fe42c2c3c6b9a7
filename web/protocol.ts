/**
 * What the page and its worker say to each other. Each side sends one message after another and waits for nothing; what a
 * request leads to is told in reports.
 */
import type { webBackends } from "../src/passes/backends/names.ts";
import type { Normalization } from "../src/web.ts";
import type { HistoryJson, StepPoint, TestPoint } from "./history.ts";

/** The two runs of one model: the same weights, the same batches, without and with the penalty. */
export const runNames = ["plain", "som"] as const;
export type RunName = (typeof runNames)[number];

/** Both runs, by name. */
export type PerRun<T> = Readonly<Record<RunName, T>>;

/** A file, with its path from a chosen folder on. */
export interface ChosenFile {
  readonly path: string;
  readonly content: Blob;
}

export const sampleNames = ["mlp", "cnn", "pointnet"] as const;
export type SampleName = (typeof sampleNames)[number];

/** Where a model comes from. */
export type ModelSource =
  | { readonly kind: "sample"; readonly name: SampleName }
  /** The model, with the files that hold its external data; or a training model with its checkpoint. */
  | { readonly kind: "files"; readonly files: readonly ChosenFile[] };

/** Where data comes from. */
export type DataSource =
  | { readonly kind: "mnist"; readonly train: number; readonly test: number }
  | { readonly kind: "npz"; readonly file: ChosenFile }
  | { readonly kind: "images"; readonly files: readonly ChosenFile[] };

/** Options of SOM, as the library takes them. */
export interface SomSettings {
  readonly lambda1: number;
  readonly lambda2: number;
  readonly gamma: number;
  readonly reduction: "mean" | "sum";
}

export type BackendName = (typeof webBackends)[number];

/** What becomes of pixels: the library decides by the data, or it is chosen. */
export type NormalizationChoice = "auto" | Normalization;

/** How both runs are trained. */
export interface Settings {
  readonly som: SomSettings;
  /** w of loss + w·R. */
  readonly weight: number;
  /** Whether SOM acts on the layers too whose responses are the model's outputs. */
  readonly onOutputs: boolean;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  /** A name of the library's table. */
  readonly optimizer: string;
  /** What gradients are cut to before the optimizer reads them, by the flag of the command line; left out: nothing is cut. */
  readonly clip?: Readonly<Record<string, number>>;
  readonly seed: number;
  readonly normalize: NormalizationChoice;
  readonly backend: BackendName;
  /** One of the model's {@link ModelSummary.losses}. */
  readonly loss: string;
}

/** A layer, and whether SOM acts on it. */
export interface LayerSummary {
  readonly name: string;
  readonly op: string;
  readonly units: number;
  readonly fanIn: number;
  /** True, or why not. */
  readonly penalty: true | string;
}

/** What the page shows of a model that can be trained. */
export interface ModelSummary {
  readonly name: string;
  readonly kind: "model" | "injected" | "training-artifact";
  readonly bytes: number;
  readonly opset: number;
  readonly producer: string;
  readonly input: string;
  readonly layers: readonly LayerSummary[];
  /** Trained tensors, and the numbers in them. */
  readonly parameters: { readonly tensors: number; readonly numbers: number };
  /** Losses that can be minimized; the first is the usual one. `output NAME` is a loss of the model's own. */
  readonly losses: readonly string[];
  /** What the file itself decides: controls show these and are locked. */
  readonly fixed: {
    readonly batch?: number;
    readonly som?: SomSettings;
    /** Weight that an injected penalty was given; can be changed. */
    readonly weight?: number;
    readonly optimizer?: string;
    readonly learningRate?: number;
  };
  /** Advice, and what the library remarked. */
  readonly remarks: readonly string[];
}

/** What the page shows of data that fit the model. */
export interface DataSummary {
  readonly name: string;
  readonly train: number;
  readonly test: number;
  readonly sample: string;
  readonly classes: number | undefined;
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
  /** Units shown; `units` is how many there are. */
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

/** What was measured of one run. */
export interface Measurement {
  readonly run: RunName;
  readonly test: TestPoint;
  readonly layers: readonly LayerAngles[];
  readonly cosines: CosineMatrix | undefined;
  readonly filters: FilterPictures | undefined;
}

/** How far both runs are. */
export interface Progress {
  readonly steps: PerRun<number>;
  readonly totalSteps: number;
  readonly epochs: number;
  readonly stepsPerSecond: PerRun<number>;
  readonly backend: string;
}

/** A run that the browser keeps. */
export interface SavedRun {
  readonly model: string;
  readonly data: string;
  /** The data are the user's own: they have to be chosen again. */
  readonly ownData: boolean;
  readonly step: number;
  readonly totalSteps: number;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
}

/** What the worker trains with. */
export interface Equipment {
  readonly threads: number;
  /** Why there is no WebGPU. */
  readonly webgpu: string | undefined;
  /** The library's optimizers, and what gradients can be cut to: names, and titles for people. */
  readonly optimizers: readonly { readonly name: string; readonly title: string }[];
  readonly clips: readonly { readonly flag: string; readonly title: string }[];
}

export type Phase = "idle" | "starting" | "running" | "paused" | "finished" | "failed";

/** From the page to the worker. What is opened bears a number, and so does what is told of it: the last one counts. */
export type Request =
  /** The first message: where the page lies. */
  | { readonly type: "begin"; readonly base: string }
  | { readonly type: "open-model"; readonly id: number; readonly source: ModelSource }
  | { readonly type: "open-data"; readonly id: number; readonly source: DataSource }
  | { readonly type: "start"; readonly settings: Settings }
  | { readonly type: "pause" | "resume" | "reset" }
  /** The page is hidden and may be closed: save. */
  | { readonly type: "save" }
  | { readonly type: "select-layer"; readonly layer: string }
  | { readonly type: "download"; readonly what: "injected" | RunName; readonly settings: Settings }
  /** Goes on with the kept run; `backend` where it shall not be the one it was begun on. */
  | { readonly type: "restore"; readonly id: number; readonly backend?: BackendName }
  | { readonly type: "discard" };

/** From the worker to the page. */
export type Report =
  | ({ readonly type: "ready" } & Equipment)
  | { readonly type: "saved"; readonly run: SavedRun | undefined }
  | { readonly type: "model"; readonly id: number; readonly summary: ModelSummary }
  | { readonly type: "model-refused"; readonly id: number; readonly message: string }
  | { readonly type: "data"; readonly id: number; readonly summary: DataSummary }
  | { readonly type: "data-refused"; readonly id: number; readonly message: string }
  | { readonly type: "phase"; readonly phase: Phase; readonly message: string }
  /** A kept run: its settings and curves, and where its data come from if they need not be chosen again. */
  | {
      readonly type: "restored";
      readonly settings: Settings;
      readonly history: HistoryJson;
      readonly data: DataSource | undefined;
    }
  | { readonly type: "steps"; readonly points: PerRun<readonly StepPoint[]>; readonly progress: Progress }
  | { readonly type: "measured"; readonly measurement: Measurement }
  /** One run cannot go on: its loss is no number any more. */
  | { readonly type: "run-stopped"; readonly run: RunName; readonly message: string }
  /** A remark; `failed` when something that was asked for could not be done, and nothing else changed. */
  | { readonly type: "notice"; readonly message: string; readonly failed?: true }
  | { readonly type: "file"; readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The worker cannot go on; `lost` when the GPU's device was lost. */
  | { readonly type: "broken"; readonly message: string; readonly lost: boolean };
