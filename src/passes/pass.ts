import type { Probe } from "../analysis/probe.ts";
import type { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";

/** Tools that a pass may use beside the graph that it rewrites. */
export interface PassContext {
  /** Adds nodes to the graph. */
  readonly emit: Emit;
  /** Asks ONNX Runtime about the graph. */
  readonly probe: Probe;
  /** Receives remarks for the user. */
  readonly onMessage?: ((message: string) => void) | undefined;
}

/** The result of a pass. */
export interface PassResult<R = undefined> {
  /** Whether the graph is another one now. */
  readonly changed: boolean;
  /** Says what was changed, or why nothing was. */
  readonly detail: string;
  /** For later steps of a program: the inputs that the pass added, for instance. */
  readonly value: R;
}

/** A rewrite of a graph, in place. Its options are chosen already. */
export interface Pass<R = undefined> {
  /** As documents and messages call it: that of its function, in kebab-case. */
  readonly name: string;
  /** @throws SorthError when the graph holds what the pass cannot rewrite and may not leave */
  readonly run: (graph: Graph, context: PassContext) => PassResult<R> | Promise<PassResult<R>>;
}

/** A pass that needs nothing but the graph, and is done when it returns. */
export interface GraphPass<R = undefined> extends Pass<R> {
  readonly run: (graph: Graph) => PassResult<R>;
}

/** The argument of {@link definePass}. */
interface PassDefinition<O extends object, R> {
  readonly name: string;
  /** Every option with its default. */
  readonly options: O;
  run(graph: Graph, options: O, context: PassContext): PassResult<R> | Promise<PassResult<R>>;
}

/** The argument of {@link defineGraphPass}. */
interface GraphPassDefinition<O extends object, R> extends PassDefinition<O, R> {
  run(graph: Graph, options: O): PassResult<R>;
}

/** The options that a caller may give: each is optional, and a pass without options takes none. */
type Given<O extends object> = keyof O extends never ? Record<string, never> : Partial<O>;

/**
 * Makes a pass: a function from options to a rewrite.
 *
 * @example
 * export const fillChannels = definePass({
 *   name: "fill-channels",
 *   options: {},
 *   run(graph, _options, { emit }) {
 *     const wrong = graph.nodes.filter(isMiscomputed);
 *     for (const node of wrong) padChannels(graph, emit, node);
 *     return changes(wrong.length, "convolution", "no convolution is computed wrongly");
 *   },
 * });
 * await runPass(fillChannels(), graph, { emit, probe });
 */
export const definePass =
  <O extends object, R = undefined>({ name, options: defaults, run }: PassDefinition<O, R>) =>
  (given?: Given<O>): Pass<R> => {
    const options: O = { ...defaults, ...given };
    return { name, run: (graph, context) => run(graph, options, context) };
  };

/**
 * Makes a pass that needs nothing but the graph.
 *
 * @example
 * export const poolBeforeRelu = defineGraphPass({
 *   name: "pool-before-relu",
 *   options: {},
 *   run(graph) {
 *     const found = graph.nodes.filter(isReluBeforePool);
 *     for (const relu of found) swap(graph, relu);
 *     return found.length > 0 ? changed(`${found.length} pairs`) : unchanged("no Relu is read by one MaxPool alone");
 *   },
 * });
 * runGraphPass(poolBeforeRelu(), graph);
 */
export const defineGraphPass =
  <O extends object, R = undefined>({ name, options: defaults, run }: GraphPassDefinition<O, R>) =>
  (given?: Given<O>): GraphPass<R> => {
    const options: O = { ...defaults, ...given };
    return { name, run: (graph) => run(graph, options) };
  };

/** The result of a pass that changed the graph. */
export function changed(detail: string): PassResult;
export function changed<R>(detail: string, value: R): PassResult<R>;
export function changed<R>(detail: string, value?: R): PassResult<R | undefined> {
  return { changed: true, detail, value };
}

/** The result of a pass that left the graph as it was, with the reason. */
export function unchanged(detail: string): PassResult;
export function unchanged<R>(detail: string, value: R): PassResult<R>;
export function unchanged<R>(detail: string, value?: R): PassResult<R | undefined> {
  return { changed: false, detail, value };
}

/** A number of things, as details say it: `1 pair`, `2 pairs`. */
export const counted = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? "" : "s"}`;

/** Says how many things a pass changed, or why it changed none. */
export const changes = (count: number, thing: string, why: string): PassResult =>
  count > 0 ? changed(counted(count, thing)) : unchanged(why);

/** Called with the graph after every pass. */
type Observer = (graph: Graph, pass: Pass<unknown>, result: PassResult<unknown>) => void;
const observers = new Set<Observer>();

/**
 * Calls a function after every pass from now on: tests check the graph there.
 * @returns a function that ends it
 */
export function observePasses(observer: Observer): () => void {
  observers.add(observer);
  return () => observers.delete(observer);
}

/**
 * Runs a pass.
 * @returns the value of its result
 * @throws SorthError as the pass does
 */
export async function runPass<R>(pass: Pass<R>, graph: Graph, context: PassContext): Promise<R> {
  return observed(graph, pass, await pass.run(graph, context)).value;
}

/**
 * Runs passes one after the other.
 * @returns whether any of them changed the graph
 * @throws SorthError as the passes do
 */
export async function runPasses(
  passes: readonly Pass<unknown>[],
  graph: Graph,
  context: PassContext,
): Promise<boolean> {
  let any = false;
  for (const pass of passes) any = observed(graph, pass, await pass.run(graph, context)).changed || any;
  return any;
}

/** Runs a pass that needs nothing but the graph, as {@link runPass} runs any. */
export const runGraphPass = <R>(pass: GraphPass<R>, graph: Graph): R =>
  observed(graph, pass, pass.run(graph)).value;

function observed<R>(graph: Graph, pass: Pass<R>, result: PassResult<R>): PassResult<R> {
  for (const observer of observers) observer(graph, pass, result);
  return result;
}
