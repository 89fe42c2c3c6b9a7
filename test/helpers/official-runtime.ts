import { Tensor } from "../../src/onnx/tensor.ts";

/** The exports of the last release of ONNX Runtime with training (onnxruntime-web 1.19.2) that tests use. */
export interface TrainingBuild {
  readonly env: { logLevel: string; wasm: { numThreads: number } };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;
  readonly TrainingSession: {
    create(files: OfficialFiles, options?: object): Promise<OrtTrainingSession>;
  };
}

interface OrtTensor {
  readonly type: string;
  readonly data: ArrayLike<number | bigint>;
  readonly dims: readonly number[];
}

interface OrtTrainingSession {
  readonly trainingInputNames: readonly string[];
  readonly trainingOutputNames: readonly string[];
  readonly evalInputNames: readonly string[];
  readonly evalOutputNames: readonly string[];
  runTrainStep(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  runEvalStep(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  runOptimizerStep(): Promise<void>;
  lazyResetGrad(): Promise<void>;
  getParametersSize(trainableOnly: boolean): Promise<number>;
  getContiguousParameters(trainableOnly: boolean): Promise<OrtTensor>;
  loadParametersBuffer(buffer: Uint8Array, trainableOnly: boolean): Promise<void>;
  release(): Promise<void>;
}

/** The files of one training run, as bytes. */
export interface OfficialFiles {
  readonly checkpointState: Uint8Array;
  readonly trainModel: Uint8Array;
  readonly evalModel?: Uint8Array;
  /** Without it, the session computes losses and gradients but cannot update parameters. */
  readonly optimizerModel?: Uint8Array;
}

/**
 * Inputs by name: float, double, int64, int32 and bool tensors. Their order does not matter; the runtime gets them in the
 * model's order.
 */
export type OfficialFeeds = Readonly<Record<string, Tensor>>;

/**
 * ONNX Runtime's own TrainingSession (the wasm build of onnxruntime-web 1.19.2, one thread) in node.
 *
 * @example
 * const session = await OfficialSession.create({ checkpointState, trainModel, optimizerModel });
 * const { [session.outputNames[0]]: loss } = await session.step({ x, labels });
 */
export class OfficialSession {
  readonly #session: OrtTrainingSession;
  readonly #build: TrainingBuild;

  private constructor(build: TrainingBuild, session: OrtTrainingSession) {
    this.#build = build;
    this.#session = session;
  }

  /** Loads a run. The runtime has process-wide state: use one session at a time and `release` it. */
  static async create(files: OfficialFiles): Promise<OfficialSession> {
    const build = await trainingBuild();
    const own = Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [name, unpooled(bytes as Uint8Array)]),
    ) as unknown as OfficialFiles;
    const session = await build.TrainingSession.create(own, { executionProviders: ["wasm"] });
    return new OfficialSession(build, session);
  }

  /** Names of the training model's data inputs; the runtime itself feeds parameters and buffers. */
  get inputNames(): readonly string[] {
    return this.#session.trainingInputNames;
  }

  /** Names of the training model's user outputs, the loss first. */
  get outputNames(): readonly string[] {
    return this.#session.trainingOutputNames;
  }

  /** One training step: computes loss and gradients, updates, resets the gradients. Returns the user outputs. */
  async step(feeds: OfficialFeeds): Promise<Record<string, Tensor>> {
    const outputs = await this.accumulate(feeds);
    await this.#session.runOptimizerStep();
    await this.#session.lazyResetGrad();
    return outputs;
  }

  /** Computes loss and gradients of one batch and adds the gradients to those accumulated before, without an update. */
  async accumulate(feeds: OfficialFeeds): Promise<Record<string, Tensor>> {
    const results = await this.#session.runTrainStep(this.#feeds(feeds));
    return Object.fromEntries(this.outputNames.map((name) => [name, fromOrt(name, results[name])]));
  }

  /** Runs the eval model on one batch. */
  async evaluate(feeds: OfficialFeeds): Promise<Record<string, Tensor>> {
    const results = await this.#session.runEvalStep(this.#feeds(feeds));
    return Object.fromEntries(
      this.#session.evalOutputNames.map((name) => [name, fromOrt(name, results[name])]),
    );
  }

  /** All parameters, concatenated in the order of the training model's inputs. */
  async parameters(options: { readonly trainableOnly: boolean }): Promise<Float32Array> {
    const { data } = await this.#session.getContiguousParameters(options.trainableOnly);
    return Float32Array.from(data as ArrayLike<number>);
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  #feeds(feeds: OfficialFeeds): Record<string, OrtTensor> {
    return Object.fromEntries(
      Object.entries(feeds).map(([name, tensor]) => {
        const type = { float: "float32", double: "float64" }[tensor.type as string] ?? tensor.type;
        return [name, new this.#build.Tensor(type, tensor.data, [...tensor.dims])];
      }),
    );
  }
}

let loaded: Promise<TrainingBuild> | undefined;

/** Imports the build by its file: the package exports it only for browsers, but it also runs in node. */
function trainingBuild(): Promise<TrainingBuild> {
  loaded ??= import(
    /* @vite-ignore */ new URL(
      "../../node_modules/ort-web-training/dist/ort.training.wasm.min.mjs",
      import.meta.url,
    ).href
  ).then((build: TrainingBuild) => {
    build.env.wasm.numThreads = 1;
    build.env.logLevel = "error";
    return build;
  });
  return loaded;
}

/** Copies bytes to a new buffer, because the runtime ignores a view's offset and would misread Buffers from node's pool. */
function unpooled(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function fromOrt(name: string, tensor: OrtTensor | undefined): Tensor {
  if (!tensor) throw new Error(`the training session gave no output ${name}`);
  if (tensor.type === "float32") {
    return Tensor.float(name, [...tensor.dims], Float32Array.from(tensor.data as ArrayLike<number>));
  }
  throw new TypeError(`output ${name} has the type ${tensor.type}; tests read float32 only`);
}
