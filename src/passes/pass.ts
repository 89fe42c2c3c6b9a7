import type { Probe } from "../analysis/probe.ts";
import type { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";

/** What a pass may use beside the graph that it rewrites. */
export interface PassContext {
  /** Adds nodes to the graph. */
  readonly emit: Emit;
  /** Asks ONNX Runtime about the graph. */
  readonly probe: Probe;
  /** Receives remarks for the user. */
  readonly onMessage?: ((message: string) => void) | undefined;
}

/** What a pass did to a graph. */
export interface PassResult<R = undefined> {
  /** Whether the graph is another one now. */
  readonly changed: boolean;
  /** What was changed, or why nothing was. */
  readonly detail: string;
  /** What later steps of a program need to know, such as the inputs that a pass added. */
  readonly value: R;
}

/** A rewrite of a graph, in place. Its options are chosen already. */
export interface Pass<R = undefined> {
  /** As documents and messages call it, in kebab-case. */
  readonly name: string;
  /** @throws SorthError when the graph holds what the pass cannot rewrite and may not leave */
  run(graph: Graph, context: PassContext): PassResult<R> | Promise<PassResult<R>>;
}

/** What {@link definePass} makes a pass of. */
export interface PassDefinition<O extends object, R> {
  readonly name: string;
  /** Every option with its default. */
  readonly options: O;
  run(graph: Graph, options: O, context: PassContext): PassResult<R> | Promise<PassResult<R>>;
}

/**
 * Makes a pass: a function from options to a rewrite.
 *
 * @example
 * export const poolBeforeRelu = definePass({
 *   name: "pool-before-relu",
 *   options: {},
 *   run(graph) {
 *     const found = graph.nodes.filter(isReluBeforePool);
 *     for (const relu of found) swap(graph, relu);
 *     return found.length > 0 ? changed(`${found.length} pairs`) : unchanged("no Relu is read by one MaxPool alone");
 *   },
 * });
 * await runPass(poolBeforeRelu(), graph, context);
 */
export const definePass =
  <O extends object, R = undefined>({ name, options: defaults, run }: PassDefinition<O, R>) =>
  (given: Partial<O> = {}): Pass<R> => {
    const options: O = { ...defaults, ...given };
    return { name, run: (graph, context) => run(graph, options, context) };
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
 * @returns what the pass tells later steps
 * @throws SorthError as the pass does
 */
export async function runPass<R>(pass: Pass<R>, graph: Graph, context: PassContext): Promise<R> {
  const result = await pass.run(graph, context);
  for (const observer of observers) observer(graph, pass, result);
  return result.value;
}
