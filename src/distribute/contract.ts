import type { DataConversion } from "../data/conversion.ts";
import type { Augmentation } from "../data/images/augment.ts";
import type { Normalization } from "../data/normalize.ts";
import type { ObjectiveOptions } from "../losses/objective.ts";
import type { LabelKind } from "../metrics/table.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import type {
  DataPort,
  DrawPort,
  LossPort,
  PenaltyPort,
  StatePort,
  StepPorts,
} from "../programs/step-ports.ts";

/** The marks of a contract's file. */
export const contractFormat = { format: "sorth-onnx/distribute", version: 1 } as const;

/** A value that is summed over all shards after a stage; it then replaces the shards' own values. */
export interface Reduction {
  /** Output of the stage. */
  readonly name: string;
  /** The sum, or the sum divided by the number of shards. */
  readonly op: "sum" | "mean";
  /** The type of the value in one process, beyond whose range the sum is infinite; default that of the output. */
  readonly type?: "float16";
  /** The name under which later stages read the result; default `name`. */
  readonly as?: string;
}

/** One of the graphs that a step runs in order, each once for every shard. */
export interface Stage {
  readonly file: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly reduce: readonly Reduction[];
}

/** A schedule by name, with its options as text or numbers. */
export interface NamedSchedule {
  readonly name: string;
  readonly options: Readonly<Record<string, number | string>>;
}

/** A state of the run: an input of the graphs, and the output that replaces it. */
export interface ContractState extends Omit<StatePort, "layout" | "start"> {
  /** How the model's numbers lie in the graphs; checkpoints and exports have the model's form. */
  readonly layout?: StateLayout;
}

/** A trained parameter. */
interface ContractParameter extends ContractState {
  readonly name: string;
  /** Output of the last stage: the gradient of the joint batch. */
  readonly gradient: string;
  readonly slots: Readonly<Record<string, ContractState>>;
}

/** A Dropout mask of the joint batch, which shards read in parts. */
interface ContractMask extends Omit<DataPort, "batchAxis"> {
  readonly ratio: number;
  /** The axis along which the joint array is cut; null where every shard reads all of it. */
  readonly cut: number | null;
}

/** Random numbers of the joint batch. */
interface ContractDraw extends DrawPort {
  /** The axis of `of` along which shards read their parts; null where every shard reads all of them. */
  readonly cut: number | null;
}

/** One of the losses of an evaluation. */
export interface ContractTerm {
  readonly name: string;
  readonly weight: number;
  /** Counted from the prediction; null for a loss that the graph computes. */
  readonly objective: { readonly name: string; readonly options: ObjectiveOptions } | null;
  readonly prediction: { readonly name: string; readonly shape: readonly number[] } | null;
  readonly labels: string | null;
  readonly mask: string | null;
  readonly output: { readonly name: string; readonly shape: readonly number[] } | null;
}

/** Figures on held-out samples besides loss and accuracy. */
export interface ContractMetrics {
  readonly term: number;
  readonly names: readonly string[];
  readonly kind: LabelKind;
}

/** Samples as arrays in `.npy` files. */
export interface ContractDataset {
  readonly name: string;
  readonly size: number;
  readonly columns: readonly {
    readonly name: string;
    /** Path in the folder. */
    readonly file: string;
    /** Of one sample. */
    readonly shape: readonly number[];
    readonly bytes: boolean;
    readonly float: boolean;
    /** The number of a black pixel, where that is not 0. */
    readonly black?: number;
    /** Path of the larger images out of which training cuts windows. */
    readonly enlarged?: string;
    /** Whether it is the dataset's labels. */
    readonly labels: boolean;
  }[];
  /** Checksums by which a run recognizes its data: the one that `train` computes, and the one that workers compute. */
  readonly checksums: readonly string[];
}

/** Data that were converted into arrays. */
export interface ConvertedData {
  /** What they were read from. */
  readonly source: string;
  readonly train: ContractDataset;
  readonly validation: ContractDataset | null;
  readonly test: ContractDataset | null;
}

/** How tokens are masked where the data hold no labels. */
export interface Masking {
  readonly maskToken: number;
  readonly probability: number;
  readonly specialTokens: readonly number[];
  /** The number of tokens that the model knows. */
  readonly tokens: number;
}

/** Inputs that are fed with samples. */
export type ContractFeeds = {
  readonly inputs: readonly DataPort[];
  /** `own`: where the data hold no labels, they are made of the tokens. */
  readonly labels: (DataPort & { readonly own?: "tokens" | Masking }) | null;
  readonly targets: readonly string[];
};

/** A tensor of the trained model. */
export interface ContractWeight {
  readonly name: string;
  readonly type: string;
  /** Its bytes in the model's file, or in its data file (`external`). */
  readonly offset: number;
  readonly length: number;
  readonly external?: true;
  /** The input of a step that holds its numbers. */
  readonly state?: string;
  /** The graph that computes them in float64, and what it reads: inputs of a step, or the numbers before training. */
  readonly graph?: string;
  readonly reads?: Readonly<Record<string, { readonly state: string } | { readonly base: true }>>;
  /** Where its numbers before training lie; absent if in the place of the new ones. */
  readonly base?: { readonly file: string; readonly offset: number; readonly length: number };
}

/** What `contract.json` says to the processes that train together. Shapes of data are those of one shard. */
export interface Contract {
  readonly format: typeof contractFormat.format;
  readonly version: typeof contractFormat.version;
  readonly seed: number;
  /** Samples of the joint batch. */
  readonly batch: number;
  /** Equal parts of the joint batch. */
  readonly shards: number;
  /** Where the graphs are meant to run: cpu or cuda. */
  readonly backend: string;
  readonly threads: number | null;
  /** Whether penalties on responses and BatchNormalization see the joint batch. */
  readonly exact: boolean;
  readonly learningRate: number;
  readonly penaltyWeight: number;
  readonly schedule: NamedSchedule | null;
  readonly penaltySchedule: NamedSchedule | null;
  /** Schedules of single penalties, by the names of `penalties`. */
  readonly penaltySchedules: Readonly<Record<string, NamedSchedule>>;
  /** How long to train, where the runner's flags do not say it. */
  readonly fit: Readonly<Record<string, unknown>>;
  readonly feeds: ContractFeeds;
  readonly data: {
    /** Null where the first data decide. */
    readonly normalize: Normalization | null;
    /** How bytes of an input are scaled if nothing else is asked for. */
    readonly bytes: Normalization;
    /** The folder of MNIST's files on the machine that wrote this. */
    readonly mnist: string | null;
    readonly conversion: DataConversion | null;
    /** Random changes of images while training. */
    readonly augment: Augmentation | null;
    readonly mixup: number | null;
    /** How the samples were scaled on which the teacher was trained; null without a teacher, or where it does not say. */
    readonly taught: Normalization | null;
    /** The samples as arrays, where workers cannot read the data themselves. */
    readonly converted: ConvertedData | null;
  };
  readonly parameters: readonly ContractParameter[];
  readonly shared: readonly (ContractState & { readonly name: string })[];
  readonly statistics: readonly (ContractState & { readonly name: string })[];
  /** The slot that holds the average of each parameter that evaluations and exports take. */
  readonly average: string | null;
  readonly masks: readonly ContractMask[];
  readonly draws: readonly ContractDraw[];
  readonly scalars: StepPorts["scalars"];
  readonly loss: string;
  readonly penalty: string | null;
  readonly penalties: readonly PenaltyPort[];
  readonly losses: readonly LossPort[];
  readonly scaling: StepPorts["scaling"] | null;
  readonly stages: readonly Stage[];
  readonly update: {
    readonly file: string;
    /** The same in parts, each for some of the parameters, which workers share where the optimizer's state is sharded. */
    readonly parts: readonly { readonly file: string; readonly parameters: readonly string[] }[];
  };
  readonly evaluation: {
    readonly file: string;
    readonly terms: readonly ContractTerm[];
    readonly loss: string | null;
    /** Metrics, and the loss that they look at by its place in `terms`; null where none were asked for. */
    readonly metrics: ContractMetrics | null;
    /** The figures of a validation that may decide between epochs, each with what is better of it. */
    readonly figures: Readonly<Record<string, "higher" | "lower">>;
    readonly feeds: ContractFeeds;
    /** Parameters and statistics that the graph reads. */
    readonly state: readonly string[];
  };
  /** How the statistics of BatchNormalization are computed again for averaged weights at the end; null where they are not. */
  readonly batchNorm: {
    readonly file: string;
    /** Of the joint batch. */
    readonly feeds: ContractFeeds;
    /** The state that the graph reads. */
    readonly state: readonly string[];
    /** Each is the mean over all batches of an output, times a factor. */
    readonly statistics: readonly {
      readonly state: string;
      readonly output: string;
      readonly factor: number;
    }[];
  } | null;
  /** Data files of the model in this folder, which a run's folder needs beside its `model.onnx`. */
  readonly base: readonly string[];
  readonly export: {
    readonly file: string;
    /** The name that `file` gives to its data file; null where all numbers lie in it. */
    readonly data: string | null;
    /** Data files of this folder that the trained model needs beside it. */
    readonly beside: readonly string[];
    /** The tensors of the trained model that come with the run; null where the numbers of tensors alone do not make it. */
    readonly weights: readonly ContractWeight[] | null;
  };
  /** How the run was asked for, as `sorth-onnx train` keeps it; null for a run of the library. */
  readonly settings: Readonly<Record<string, unknown>> | null;
}
