import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { ownIn } from "../lookup.ts";
import { whatIs } from "../what-is.ts";

/** Numbers for a model's free dimensions. */
export interface DimensionOptions {
  /** Samples in a batch, if the file leaves that dimension open. */
  readonly batch?: number;
  /** Lengths of other free dimensions, by their name in the file; one without a name is called `input.axis` (`x.2`). */
  readonly dims?: Readonly<Record<string, number>>;
  /** Leave missing lengths open, so that shapes that depend on them stay unknown (default: an error asks for them). */
  readonly open?: boolean;
  /** Lengths of a decoder that reads no former tokens; analyses fill them in. */
  readonly past?: Readonly<Record<string, number>>;
}

/** Default batch size for probing: divisible by 2, 3 and 4, and rare as a layer's size. */
export const defaultBatch = 12;

/** The inputs that must be fed: those without a default in the file. */
export function fedInputs(graph: Graph): Value[] {
  return graph.inputs.filter((input) => !input.initializer);
}

/**
 * The axis of an input that counts the samples, by the names in the file: the one whose name says batch (`[7, "batch", 4]` of
 * a recurrent network), or samples beside one that says time (`["T", "N", 4]`), else the first.
 */
export function declaredBatchAxis({ declared = [] }: Pick<Value, "declared">): number {
  const axisOf = (pattern: RegExp) =>
    declared.findIndex((dim) => typeof dim === "string" && pattern.test(dim));
  const named = axisOf(/batch/i);
  if (named >= 0) return named;
  const isTime = axisOf(/^(t|time|seq|seq_?len(gth)?|sequence_?length)$/i) === 0;
  if (typeof declared[0] !== "number" && !isTime) return 0;
  const axis = axisOf(/^(n|bs|samples|num_?samples)$/i);
  // The last axis of [1, samples] counts samples of sound.
  return axis < declared.length - 1 || isTime ? Math.max(axis, 0) : 0;
}

/**
 * The axis of an input that counts the samples, if the number of samples is known: the declared one or, if the file names
 * none, the only axis of that length.
 * @param shape - of the input, with all lengths known
 * @param rows - samples in the model's prediction; undefined if not known
 */
export function batchAxisOf(
  input: Pick<Value, "declared">,
  shape: readonly number[],
  rows: number | undefined,
): number {
  const axis = declaredBatchAxis(input);
  if (axis > 0 || typeof input.declared?.[0] !== "number" || rows === undefined || shape[0] === rows) {
    return axis;
  }
  const [found, ...others] = shape.flatMap((dim, at) => (dim === rows ? [at] : []));
  return found !== undefined && others.length === 0 ? found : axis;
}

/** Whether the file leaves the batch dimension of an input open and the caller did not give it by name. */
function leadsWithBatch(input: Value, dims: Readonly<Record<string, number>>): boolean {
  const axis = declaredBatchAxis(input);
  const dim = input.declared?.[axis];
  if (!input.declared || input.declared.length === 0 || typeof dim === "number") return false;
  return dims[`${input.name}.${axis}`] === undefined && (dim === undefined || ownIn(dims, dim) === undefined);
}

/** Whether the batch size of a graph is free. */
export function hasFreeBatch(graph: Graph, options: DimensionOptions = {}): boolean {
  return fedInputs(graph).some((input) => leadsWithBatch(input, options.dims ?? {}));
}

/**
 * Numbers of samples that the file fixes. If the first length of another input is free, an input of integers with a fixed first length and a free
 * second one does not count, such as the edges [2, edges] of a graph beside its nodes.
 */
export function fixedBatches(inputs: readonly Value[]): number[] {
  const batchOf = (input: Value) => input.declared?.[declaredBatchAxis(input)];
  const open = inputs.some((input) => typeof batchOf(input) === "string");
  return inputs.flatMap((input) => {
    const dim = batchOf(input);
    const indices =
      /^int/.test(input.type ?? "") && input.declared?.some((other) => typeof other === "string");
    return typeof dim === "number" && !(open && indices) ? [dim] : [];
  });
}

/** The name of the batch in {@link freeDimensions}. */
const batchName = "batch";

/**
 * The free dimensions of the file for which the options have a length: `batch`, and names in `options.dims`. An option that
 * replaces a number in the file does not count.
 */
export function freeDimensions(graph: Graph, options: DimensionOptions): string[] {
  const given = Object.keys(options.dims ?? {}).filter((name) =>
    fedInputs(graph).some(({ name: input, declared, uses }) =>
      declared
        ? declared.some(
            (dim, axis) => typeof dim !== "number" && (dim === name || name === `${input}.${axis}`),
          )
        : uses.size > 0 && name.startsWith(`${input}.`),
    ),
  );
  return [...(hasFreeBatch(graph, options) ? [batchName] : []), ...given];
}

/** The same sizes, with the named {@link freeDimensions} twice as long; `batch` is there if the batch is free. */
export function doubled(
  { batch, dims = {}, open }: DimensionOptions,
  names: readonly string[],
): DimensionOptions {
  return {
    ...(open !== undefined && { open }),
    ...(batch !== undefined && { batch: names.includes(batchName) ? 2 * batch : batch }),
    dims: Object.fromEntries(
      Object.entries(dims).map(([name, length]) => [name, names.includes(name) ? 2 * length : length]),
    ),
  };
}

/**
 * Refuses a model whose batch the file fixes at 0, because a penalty or a step would have no samples. Inputs with one axis may
 * be empty, such as the second input of CastLike.
 * @throws SorthError naming the input
 */
export function checkSamples(graph: Graph): void {
  checkSamplesOf(fedInputs(graph));
}

function checkSamplesOf(inputs: readonly Value[]): void {
  const empty = inputs.find(
    (input) => (input.declared?.length ?? 0) > 1 && input.declared?.[declaredBatchAxis(input)] === 0,
  );
  if (empty) throw noSamples(empty);
}

const noSamples = ({ name }: Value): SorthError =>
  new SorthError(
    `input "${name}" has the length 0 on its first axis, so that no sample fits: export the model with a free batch, or one of 1 or more`,
  );

/**
 * Shapes of all fed tensor inputs with every free dimension replaced by a number.
 * @throws SorthError naming the input and the option that fixes it; UsageError for a dimension the model does not have.
 */
export function resolveInputs(graph: Graph, options: DimensionOptions): Map<Value, readonly number[]> {
  const dims = { ...options.past, ...options.dims };
  const inputs = fedInputs(graph);
  checkOptions(inputs, options);
  const batch = options.batch ?? defaultBatch;
  const symbols = new Map(Object.entries(dims));
  for (const input of inputs) {
    const dim = input.declared?.[declaredBatchAxis(input)];
    if (typeof dim === "string" && !symbols.has(dim)) symbols.set(dim, batch);
  }
  const resolved = new Map<Value, readonly number[]>();
  const missing: MissingLength[] = [];
  for (const input of inputs) {
    if (!input.type) continue;
    if (!input.declared) {
      const shape = givenShape(input, dims, options.open ?? false);
      if (shape) resolved.set(input, shape);
      continue;
    }
    const before = missing.length;
    const shape = input.declared.map((dim, axis) => {
      const given = dims[`${input.name}.${axis}`];
      if (given !== undefined) return given;
      if (typeof dim === "number") return dim;
      if (axis === declaredBatchAxis(input) && leadsWithBatch(input, dims)) return batch;
      const known = dim === undefined ? undefined : symbols.get(dim);
      if (known !== undefined) return known;
      missing.push({ input, axis, name: dim ?? `${input.name}.${axis}` });
      return 0;
    });
    if (missing.length === before) resolved.set(input, shape);
  }
  if (missing.length > 0 && !options.open) throw lengthsNeeded(missing);
  return resolved;
}

/** A length that neither the file nor the caller has given. */
interface MissingLength {
  readonly input: Value;
  readonly axis: number;
  readonly name: string;
}

/** Names of the free dimensions, except the batch, that have no length yet: `--dim` takes them. */
export function missingDimensions(graph: Graph, options: DimensionOptions = {}): string[] {
  const dims = { ...options.past, ...options.dims };
  const leading = fedInputs(graph).flatMap((input) => input.declared?.[declaredBatchAxis(input)] ?? []);
  const names = fedInputs(graph).flatMap((input) =>
    (input.declared ?? []).flatMap((dim, axis) => {
      const name = dim ?? `${input.name}.${axis}`;
      if (
        typeof name === "number" ||
        ownIn(dims, name) !== undefined ||
        dims[`${input.name}.${axis}`] !== undefined
      )
        return [];
      return axis === declaredBatchAxis(input) || leading.includes(name) ? [] : [name];
    }),
  );
  return [...new Set(names)];
}

/** Flags for the user to copy that give these dimensions lengths that are common in such models. */
export function exampleFlags(names: readonly string[]): string {
  return names
    .map((name) => [name, `${name}=${usualLength(name)}`] as const)
    .map(([name, text]) => `--dim ${/[^\w.-]/.test(name) ? `'${text}'` : text}`)
    .join(" ");
}

/** A length that is common for a free dimension of this name. */
export function usualLength(name: string): number {
  if (/total/i.test(name)) return 32;
  return /height|width|image|^[hw]$/i.test(name) ? 224 : 16;
}

function lengthsNeeded(missing: readonly MissingLength[]): SorthError {
  const names = [...new Set(missing.map(({ name }) => name))];
  const [first] = missing;
  if (first && names.length === 1) {
    return new SorthError(
      `axis ${first.axis} of input "${first.input.name}" has no fixed length: give it with --dim ${first.name}=N`,
    );
  }
  return new SorthError(
    `${names.length} lengths of inputs are left open by the file: give them, for instance with ${exampleFlags(names)}`,
  );
}

/** The shape of an input that declares none, from options `input.0`, `input.1`, …; undefined if no node reads the input. */
function givenShape(
  input: Value,
  dims: Readonly<Record<string, number>>,
  open: boolean,
): number[] | undefined {
  const shape: number[] = [];
  for (;;) {
    const dim = dims[`${input.name}.${shape.length}`];
    if (dim === undefined) break;
    shape.push(dim);
  }
  if (shape.length > 0) return shape;
  if (input.uses.size === 0 || open) return undefined;
  throw new SorthError(
    `input "${input.name}" declares no shape: give every axis, with --dim ${input.name}.0=N --dim ${input.name}.1=N …`,
  );
}

function checkOptions(inputs: readonly Value[], { batch, dims = {} }: DimensionOptions): void {
  for (const [name, length] of [
    ...Object.entries(dims),
    ...(batch === undefined ? [] : [["batch", batch] as const]),
  ]) {
    if (!Number.isInteger(length) || length < 1) {
      throw new UsageError(
        `the dimension "${name}" must be a whole number of at least 1, not ${typeof length === "number" ? length : whatIs(length)}`,
      );
    }
  }
  const known = new Set(
    inputs.flatMap((input) => [
      ...(input.declared ?? Array.from({ length: 16 })).map((_, axis) => `${input.name}.${axis}`),
      ...(input.declared ?? []).filter((dim) => typeof dim === "string"),
    ]),
  );
  for (const name of Object.keys(dims)) {
    if (known.has(name)) continue;
    const free = inputs.flatMap((input) => (input.declared ?? []).filter((dim) => typeof dim === "string"));
    const hint =
      free.length > 0
        ? `free are: ${[...new Set(free)].join(", ")}`
        : "the model has no named free dimension";
    throw new UsageError(`no input has a dimension "${name}"; ${hint}`);
  }
  if (batch === undefined || inputs.some((input) => leadsWithBatch(input, dims))) return;
  const fixed = fixedBatches(inputs);
  const given = inputs.flatMap((input) => givenBatch(input, dims));
  if (fixed.includes(batch) || given.some(({ length }) => length === batch)) return;
  if (fixed.length > 0) {
    if (fixed.includes(0)) checkSamplesOf(inputs);
    throw new SorthError(
      `the model fixes its batch size at ${fixed[0]}: use --batch ${fixed[0]}, or ${fixed[0] === 1 ? "free it first (sorth-onnx free-batch)" : "export it with a free batch dimension"}`,
    );
  }
  const [first] = given;
  if (inputs.some(({ declared }) => !declared) && !first) return;
  throw new UsageError(
    first
      ? `--batch ${batch} has no effect, because --dim ${first.name}=${first.length} fixes the axis that it would set: leave one of them out`
      : `--batch ${batch} has no effect, because no input has an axis of samples: leave it out`,
  );
}

/** The length that the caller gives the batch dimension of an input by name. */
function givenBatch(
  input: Value,
  dims: Readonly<Record<string, number>>,
): { readonly name: string; readonly length: number }[] {
  const axis = declaredBatchAxis(input);
  return [`${input.name}.${axis}`, input.declared?.[axis]].flatMap((name) => {
    const length = typeof name === "string" ? ownIn(dims, name) : undefined;
    return typeof name === "string" && length !== undefined ? [{ name, length }] : [];
  });
}
