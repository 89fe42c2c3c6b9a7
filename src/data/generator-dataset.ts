import { DataError, UsageError } from "../errors.ts";
import { sameShape, shapeText } from "../graph/shapes.ts";
import { checkKnown, checkOptions, type OptionNames } from "../known-options.ts";
import { ownIn } from "../lookup.ts";
import { count } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { whatIs } from "../what-is.ts";
import type { SourceArray } from "./array-dataset.ts";
import {
  type BatchArray,
  type Column,
  type Dataset,
  datasetOfColumns,
  type TrainingPass,
} from "./dataset.ts";

/** The numbers of one array of a sample. Typed arrays say whether they are integers; numbers and plain arrays show it. */
export type GeneratedArray = number | boolean | readonly number[] | SourceArray;

/** One sample: its arrays by name. `y` or `labels` are its labels or targets, the others feed inputs of the model. */
export type GeneratedSample = Readonly<Record<string, GeneratedArray>>;

/** Makes the samples of one pass over the data: `{ seed, epoch }` for training, undefined for an evaluation. */
export type SampleGenerator = (
  pass: TrainingPass | undefined,
) => Iterable<GeneratedSample> | AsyncIterable<GeneratedSample>;

/** Options of {@link generatorDataset}. */
export interface GeneratorOptions {
  /** Samples of a pass: the generator must yield as many, or more, which are not read. */
  readonly size: number;
  /** Shapes of one sample's arrays, by name; default: a number is [], an array [its length]. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Number of classes, if `y` is one: a label outside of them is refused. */
  readonly classes?: number;
  /** Source of the data, for messages (default "the generator"). */
  readonly name?: string;
  /** Identifies the samples: a resumed run compares it. Default: name, size and shapes count. */
  readonly fingerprint?: string;
}

const optionNames = {
  ...{ size: true, shapes: true, classes: true, name: "text", fingerprint: "text" },
} as const satisfies OptionNames<GeneratorOptions>;

/** A dataset whose samples a generator makes. `GeneratorFunctions.generatorDataset` documents it. */
export async function generatorDataset(
  generate: SampleGenerator,
  options: GeneratorOptions,
): Promise<Dataset> {
  checkKnown("generatorDataset", options, optionNames);
  if (typeof generate !== "function") {
    throw new UsageError(`generatorDataset takes a generator function, not ${whatIs(generate)}`);
  }
  const { size, shapes = {}, classes, name = "the generator", fingerprint } = options;
  checkOptions("shapes of generatorDataset", shapes);
  if (!count.holds(size)) throw new UsageError(`${name}: size must be ${count.words}, not ${whatIs(size)}`);
  const peek = new Pass(generate, undefined, name);
  const first = await peek.take();
  await peek.close();
  if (!first) throw new DataError(`${name} yields no sample`);
  const reader = new Reader(generate, name, size);
  const labelsName = ["y", "labels"].find((key) => Object.hasOwn(first, key));
  const columns = Object.entries(first).map(([key, value]): Column => {
    const numbers = numbersOf(value);
    const shape = ownIn(shapes, key) ?? (isNumber(value) ? [] : [numbers.length]);
    const bytes = value instanceof Uint8Array || value instanceof Uint8ClampedArray;
    const type = isWhole(value) ? "integer" : "float";
    check(name, key, 0, numbers, shape);
    const ofClasses = key === labelsName && type === "integer" ? classes : undefined;
    return {
      ...{ name: key, type, shape },
      ...(ofClasses !== undefined && { classes: ofClasses }),
      ...(bytes && { bytes }),
      // No code reads all samples before training, so the true range is not known: bytes count as pixels, and other numbers stay as they are.
      range: () => ({ least: 0, most: bytes ? 255 : 1, whole: type === "integer" }),
      fill: async (indices, target, pass) => {
        const samples = await reader.read(indices, pass);
        const width = elementCount(shape);
        for (const [row, sample] of samples.entries()) {
          const own = ownIn(sample, key);
          const at = indices[row] ?? row;
          if (own === undefined)
            throw new DataError(`${name}: sample ${at} has no "${key}", which the first sample has`);
          const values = numbersOf(own);
          check(name, key, at, values, shape);
          if (type === "integer") checkWhole(name, key, at, values);
          if (ofClasses) checkClasses(name, key, at, values, ofClasses);
          write(target, values, row * width);
        }
      },
    };
  });
  const labels = columns.find((column) => column.name === labelsName);
  const unknown = Object.keys(shapes).find((key) => !Object.hasOwn(first, key));
  if (unknown !== undefined)
    throw new UsageError(`${name}: shapes names "${unknown}", but samples have no such array`);
  const made = datasetOfColumns(
    name,
    size,
    columns.filter((column) => column !== labels),
    labels,
  );
  return {
    ...made,
    inOrder: true,
    close: () => reader.close(),
    // By default the name identifies the samples, as it does for every dataset that answers with promises; no sample is read for this.
    fingerprint: fingerprint ?? name,
  };
}

/** One pass of a generator, sample by sample. */
class Pass {
  /** Index of the next sample. */
  next = 0;
  readonly pass: TrainingPass | undefined;
  readonly #name: string;
  readonly #samples: Iterator<GeneratedSample> | AsyncIterator<GeneratedSample>;

  constructor(generate: SampleGenerator, pass: TrainingPass | undefined, name: string) {
    const made = Object(generate(pass));
    this.pass = pass;
    this.#name = name;
    this.#samples = made[Symbol.asyncIterator]?.() ?? made[Symbol.iterator]?.();
    if (!this.#samples) {
      throw new UsageError(
        `${name} does not return an iterator of samples: write function* or async function*, and yield them`,
      );
    }
  }

  /** The next sample; undefined behind the last one. */
  async take(): Promise<GeneratedSample | undefined> {
    const { done, value } = await this.#samples.next();
    if (done) return undefined;
    if (typeof value !== "object" || value === null) {
      throw new DataError(
        `${this.#name}: sample ${this.next} is ${String(value)}: yield an object, { x, y }`,
      );
    }
    this.next += 1;
    // A generator may write its next sample into the same arrays.
    return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, copyOf(own)]));
  }

  /** Ends the generator, so that its `finally` runs. */
  async close(): Promise<void> {
    await this.#samples.return?.();
  }
}

/** Reads batches of a generator in the order in which they are asked for. */
class Reader {
  readonly #generate: SampleGenerator;
  readonly #name: string;
  readonly #size: number;
  #open: Pass | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** The batches that were read last, for the other arrays of the same samples. */
  #batches: { readonly key: string; readonly samples: Promise<readonly GeneratedSample[]> }[] = [];

  constructor(generate: SampleGenerator, name: string, size: number) {
    this.#generate = generate;
    this.#name = name;
    this.#size = size;
  }

  /** Ends the pass that is open, once its generator has answered. */
  close(): void {
    this.#last = this.#last.then(() => this.#end()).catch(() => {});
  }

  async #end(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    this.#batches = [];
    await open?.close();
  }

  /** The samples at ascending indices of a pass. */
  read(indices: ArrayLike<number>, pass: TrainingPass | undefined): Promise<readonly GeneratedSample[]> {
    const wanted = Array.from(indices);
    const key = `${pass?.seed} ${pass?.epoch} ${wanted.join()}`;
    const known = this.#batches.find((batch) => batch.key === key);
    if (known) return known.samples;
    const samples = this.#last.then(() => this.#take(wanted, pass));
    this.#last = samples.catch(() => {});
    this.#batches = [...this.#batches.slice(-1), { key, samples }];
    return samples;
  }

  async #take(wanted: readonly number[], pass: TrainingPass | undefined): Promise<GeneratedSample[]> {
    const found: GeneratedSample[] = [];
    try {
      for (const [row, index] of wanted.entries()) {
        // The last batch of an evaluation repeats the last sample.
        const again = row > 0 && wanted[row - 1] === index ? found[row - 1] : undefined;
        found.push(again ?? (await this.#at(index, pass)));
      }
    } catch (error) {
      // A generator that failed yields no more: the next batch begins a pass anew.
      await this.#end().catch(() => {});
      throw error;
    }
    // Nobody asks for more of this pass.
    if (this.#open?.next === this.#size) await this.#open.close();
    return found;
  }

  async #at(index: number, pass: TrainingPass | undefined): Promise<GeneratedSample> {
    let open = this.#open;
    const isThis = open?.pass?.epoch === pass?.epoch && open?.pass?.seed === pass?.seed;
    if (!open || !isThis || open.next > index) {
      await open?.close();
      open = new Pass(this.#generate, pass, this.#name);
      this.#open = open;
    }
    let sample: GeneratedSample | undefined;
    while (open.next <= index) {
      sample = await open.take();
      if (!sample) {
        const { next } = open;
        throw new DataError(
          `${this.#name} ends after ${next} samples, and sample ${index} was asked for: lower size, or yield more`,
        );
      }
    }
    return sample as GeneratedSample;
  }
}

const isNumber = (value: GeneratedArray): boolean => typeof value === "number" || typeof value === "boolean";

const copyOf = (value: GeneratedArray): GeneratedArray =>
  ArrayBuffer.isView(value) ? value.slice() : Array.isArray(value) ? [...value] : value;

const numbersOf = (value: GeneratedArray): ArrayLike<number | bigint> =>
  typeof value === "object" ? value : [Number(value)];

/** Whether an array is one of integers. */
function isWhole(value: GeneratedArray): boolean {
  if (value instanceof Float32Array || value instanceof Float64Array) return false;
  if (ArrayBuffer.isView(value)) return true;
  return Array.from(numbersOf(value)).every((one) => Number.isInteger(Number(one)));
}

function check(
  name: string,
  key: string,
  index: number,
  values: ArrayLike<number | bigint>,
  shape: readonly number[],
): void {
  if (values.length !== elementCount(shape)) {
    const own = sameShape(shape, [values.length]) ? "" : ` of shape ${shapeText(shape)}`;
    throw new DataError(
      `${name}: "${key}" of sample ${index} has ${values.length} numbers, not ${elementCount(shape)}${own}`,
    );
  }
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(Number(values[i]))) continue;
    throw new DataError(
      `${name}: "${key}" holds ${values[i]} in sample ${index} (element ${i}); remove or replace such values`,
    );
  }
}

function checkClasses(
  name: string,
  key: string,
  index: number,
  values: ArrayLike<number | bigint>,
  classes: number,
): void {
  const wrong = Array.from(values).find((value) => value < 0 || value >= classes);
  if (wrong === undefined) return;
  throw new DataError(
    `${name}: "${key}" of sample ${index} is ${wrong}, which is none of the ${classes} classes (0 to ${classes - 1})`,
  );
}

function checkWhole(name: string, key: string, index: number, values: ArrayLike<number | bigint>): void {
  const wrong = Array.from(values).find((value) => !Number.isInteger(Number(value)));
  if (wrong === undefined) return;
  throw new DataError(
    `${name}: "${key}" of sample ${index} holds ${wrong}, and the first sample holds integers: yield a Float32Array for numbers`,
  );
}

function write(target: BatchArray, values: ArrayLike<number | bigint>, from: number): void {
  if (from + values.length > target.length) throw new DataError("the array for samples is too short");
  const wide = isWide(target);
  for (let i = 0; i < values.length; i++) {
    target[from + i] = (wide ? BigInt(values[i] as number) : Number(values[i])) as never;
  }
}
