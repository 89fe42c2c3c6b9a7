import { int } from "../../graph/attribute.ts";
import { bodyOf } from "../../graph/body-graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { tableOf } from "../../lookup.ts";
import { type ExternalReader, Tensor } from "../../onnx/tensor.ts";
import { changes, defineGraphPass } from "../pass.ts";
import { Inliner } from "./inliner.ts";
import { split, stack, unstack } from "./slices.ts";

/** Sequences whose elements are known, element by element. */
type Known = Map<Value, readonly Value[]>;

/**
 * Lets what reads a sequence or an optional read the tensor in it, wherever the elements and the position are known.
 * The nodes that make sequences stay, without readers. A node that cannot be resolved keeps the reason as its `obstacle`.
 *
 *     s = SequenceConstruct(a, b); y = Neg(SequenceAt(s, 1))  →  y = Neg(b)
 */
export const resolveSequences = defineGraphPass({
  name: "resolve-sequences",
  options: {
    /** Shared with the passes before and after; default: a new one. */
    inliner: undefined as Inliner | undefined,
    /** Reads tensors of bodies that lie in other files. */
    external: undefined as ExternalReader | undefined,
  },
  run(graph, { external, inliner = new Inliner(graph, external) }) {
    const known: Known = new Map();
    let resolved = 0;
    const reasons: string[] = [];
    for (const node of graph.sorted()) {
      if (node.domain !== "") continue;
      const made = madeBy(inliner, node, known);
      if (made === "rewritten") {
        resolved++;
        continue;
      }
      const [output] = node.outputs;
      if (made && output) known.set(output, made);
      const read = made ? undefined : readers[node.opType];
      if (!read) continue;
      const result = read(inliner, node, known);
      if (typeof result === "string") {
        node.obstacle = result;
        reasons.push(`${node.op} "${node.label}": ${result}`);
      } else {
        inliner.replace(node, [result]);
        resolved++;
      }
    }
    inliner.flush();
    return changes(resolved, "node", reasons.join("; ") || "nothing reads a sequence");
  },
});

/** Operators on sequences and optionals whose result is a tensor. */
const readers: Readonly<Record<string, (inliner: Inliner, node: Node, known: Known) => Value | string>> =
  tableOf({
    SequenceAt(_inliner, node, known) {
      const elements = elementsOf(node, known);
      if (typeof elements === "string") return elements;
      const position = positionOf(node, 1, elements.length);
      return typeof position === "string"
        ? position
        : (elements[position] ?? `it has no element ${position}`);
    },
    SequenceLength(inliner, node, known) {
      const elements = elementsOf(node, known);
      if (typeof elements === "string") return elements;
      return inliner.constant(Tensor.int64(`${node.label}/length`, [], [elements.length]));
    },
    ConcatFromSequence(inliner, node, known) {
      const elements = elementsOf(node, known);
      if (typeof elements === "string") return elements;
      if (elements.length === 0) return "its sequence is empty";
      const axis = node.int("axis", 0);
      if (node.int("new_axis", 0) === 1) return stack(inliner, elements, axis, node.label);
      return inliner.op("Concat", elements, `${node.label}/joined`, new Map([["axis", int(axis)]]));
    },
    OptionalGetElement(_inliner, node) {
      const element = optionalElement(node.inputs[0]);
      return typeof element === "object" ? element : "whether its optional holds a value is not known";
    },
    OptionalHasElement(inliner, node) {
      const element = optionalElement(node.inputs[0]);
      if (element === undefined) return "whether its optional holds a value is not known";
      return inliner.constant(
        Tensor.of(`${node.label}/has`, "bool", [], Uint8Array.of(element === "none" ? 0 : 1)),
      );
    },
  });

/** The value in an optional, "none" for an empty one, undefined where that is not known. */
function optionalElement(input: Value | null | undefined): Value | "none" | undefined {
  if (!input) return "none";
  const { producer } = input;
  if (producer?.op === "Identity") return optionalElement(producer.inputs[0]);
  if (producer?.op === "Optional") return producer.inputs[0] ?? "none";
  return input.type ? input : undefined;
}

/** The result of {@link madeBy}: the elements, "rewritten" for a node that became a SequenceConstruct, undefined where they are not known. */
type Made = readonly Value[] | "rewritten" | undefined;

/** The elements of the sequence that a node makes. */
function madeBy(inliner: Inliner, node: Node, known: Known): Made {
  const [first, second] = node.inputs;
  const elements = first ? known.get(first) : undefined;
  switch (node.opType) {
    case "SequenceEmpty":
      return [];
    case "SequenceConstruct":
      return node.inputs.filter((input) => input !== null);
    case "Identity":
      return elements;
    case "Optional":
    case "OptionalGetElement": {
      const element = node.opType === "Optional" ? first : optionalElement(first);
      return typeof element === "object" && element ? known.get(element) : undefined;
    }
    case "SequenceInsert": {
      const position = elements && positionOf(node, 2, elements.length);
      if (!elements || typeof position !== "number" || !second) return undefined;
      return elements.toSpliced(position, 0, second);
    }
    case "SequenceErase": {
      const position = elements && positionOf(node, 1, elements.length - 1);
      return elements && typeof position === "number" ? elements.toSpliced(position, 1) : undefined;
    }
    case "SplitToSequence":
      return splitToSequence(inliner, node, known);
    case "SequenceMap":
      return mapped(inliner, node, known);
    default:
      return undefined;
  }
}

function elementsOf(node: Node, known: Known): readonly Value[] | string {
  const [sequence] = node.inputs;
  return (
    (sequence && known.get(sequence)) ?? `the elements of the sequence "${sequence?.name}" are not known`
  );
}

/** A constant position, counted from the front; left out it is `end`. */
function positionOf(node: Node, index: number, end: number): number | string {
  const input = node.inputs[index];
  if (!input) return end;
  const position = input.initializer?.numbers()[0];
  if (position === undefined) return `its position "${input.name}" is computed from data`;
  // Insertion has one place more than there are elements, and −1 is the one before the last element.
  const length = node.opType === "SequenceErase" ? end + 1 : end;
  return position < 0 ? position + length : position;
}

function splitToSequence(inliner: Inliner, node: Node, known: Known): Made {
  const [value, lengths] = node.inputs;
  const axis = node.int("axis", 0);
  const size = value?.shape?.at(axis);
  if (!value || size === undefined || (lengths && !lengths.initializer)) return undefined;
  const parts = (pieces: readonly number[]) => split(inliner, value, axis, pieces, node.label);
  if (lengths) {
    const given = lengths.initializer?.numbers() ?? [];
    const pieces = lengths.initializer?.dims.length === 0 ? evenPieces(size, given[0] ?? 1) : given;
    return rewrite(inliner, node, known, [parts(pieces)]);
  }
  if (size === 0) return [];
  const rows = node.int("keepdims", 1) === 0;
  return rewrite(inliner, node, known, [
    rows ? unstack(inliner, value, axis, size, node.label) : parts(evenPieces(size, 1)),
  ]);
}

/** Pieces of one length; the last may be shorter. */
function evenPieces(size: number, length: number): number[] {
  return Array.from({ length: Math.ceil(size / length) }, (_, i) => Math.min(length, size - i * length));
}

/** The nodes of a SequenceMap, written out for every element. */
function mapped(inliner: Inliner, node: Node, known: Known): Made {
  const [first] = node.inputs;
  const count = first && known.get(first)?.length;
  if (!count) return undefined;
  const sequences = node.inputs.map((input) => input && known.get(input));
  const isTensor = node.inputs.map((input) => input?.type !== undefined);
  if (sequences.some((sequence, i) => !sequence && !isTensor[i])) return undefined;
  const body = bodyOf(node, "body");
  const names = (body.input ?? []).map(({ name }) => name ?? "");
  const results = (body.output ?? []).map(({ name }) => name ?? "");
  const rows = Array.from({ length: count }, (_, i) => {
    const bindings = new Map(
      names.map((name, k) => [name, sequences[k]?.[i] ?? node.inputs[k] ?? null] as const),
    );
    return inliner.inline(body, `${node.label}/${i}`, bindings, results);
  });
  return rewrite(
    inliner,
    node,
    known,
    node.outputs.map((_, k) => rows.map((row) => row[k] as Value)),
  );
}

/** Replaces a node by plain SequenceConstructs, so that it is resolved only once. */
function rewrite(
  inliner: Inliner,
  node: Node,
  known: Known,
  sequences: readonly (readonly Value[])[],
): "rewritten" {
  const made = sequences.map((elements, i) => {
    const sequence = inliner.op("SequenceConstruct", elements, `${node.label}/sequence/${i}`);
    known.set(sequence, elements);
    return sequence;
  });
  inliner.replace(node, made);
  return "rewritten";
}
