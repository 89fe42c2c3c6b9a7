import { SorthError } from "../../errors.ts";
import { string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Shape } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";

/** An equation with one letter per axis, its ellipses replaced by letters and its implicit result written out. */
interface Equation {
  readonly operands: readonly (readonly string[])[];
  readonly result: readonly string[];
  /** Length of each letter's axes, broadcast over the operands. */
  readonly sizes: ReadonlyMap<string, number>;
}

const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"];

function parseEquation(text: string, shapes: readonly Shape[]): Equation {
  const [left = "", right] = text.replaceAll(" ", "").split("->");
  const terms = left.split(",");
  const named = terms.map((term) => term.replace("...", "").length);
  const unnamed = shapes.map((shape, i) => shape.length - (named[i] ?? 0));
  // Align the axes of the ellipses at their ends, as broadcasting does.
  const dots = alphabet.filter((letter) => !text.includes(letter)).slice(0, Math.max(0, ...unnamed));
  const spelled = (term: string, count: number): string[] => {
    const [before = "", after = ""] = term.split("...");
    return term.includes("...") ? [...before, ...dots.slice(dots.length - count), ...after] : [...term];
  };
  const operands = terms.map((term, i) => spelled(term, unnamed[i] ?? 0));
  const all = operands.flat();
  const once = [...new Set(all)].filter((letter) => all.indexOf(letter) === all.lastIndexOf(letter)).sort();
  const result =
    right === undefined
      ? [...dots, ...once.filter((letter) => !dots.includes(letter))]
      : spelled(right, dots.length);
  const sizes = new Map<string, number>();
  operands.forEach((letters, i) => {
    letters.forEach((letter, axis) => {
      const dim = shapes[i]?.[axis] ?? 1;
      if (dim !== 1 || !sizes.has(letter)) sizes.set(letter, dim);
    });
  });
  return { operands, result, sizes };
}

/** A factor of a product, with one letter per axis. */
interface Factor {
  readonly letters: readonly string[];
  readonly value: Typed;
}

/** The operand without its broadcast axes (those of length 1). */
function factorOf(g: Emit, letters: readonly string[], value: Typed, sizes: Equation["sizes"]): Factor {
  const kept = letters.map((letter, axis) => value.shape[axis] === sizes.get(letter));
  return {
    letters: letters.filter((_, axis) => kept[axis]),
    value: g.reshape(
      value,
      value.shape.filter((_, axis) => kept[axis]),
    ),
  };
}

/** Length of a letter's axis, from the first factor that has it. */
function lengthOf(letter: string, factors: readonly Factor[]): number {
  const factor = factors.find(({ letters }) => letters.includes(letter));
  return factor?.value.shape[factor.letters.indexOf(letter)] ?? 1;
}

/** The product of the factors, summed over all letters outside `target`. Each letter of `target` must be in a factor. */
function contract(g: Emit, factors: readonly Factor[], target: readonly string[]): Typed {
  const scalars = factors.filter(({ letters }) => letters.length === 0).map(({ value }) => value);
  const [first, ...others] = factors.filter(({ letters }) => letters.length > 0);
  // ONNX Runtime 1.30 crashes on some empty operands.
  const empty = factors.find(({ value }) => value.shape.includes(0));
  if (empty)
    return g.filled(
      0,
      target.map((letter) => lengthOf(letter, factors)),
      empty.value.type,
    );
  const product = (values: readonly Typed[]) => values.reduce((a, b) => g.mul(a, b));
  if (!first) return product(scalars);
  const untouched = others.length === 0 && first.letters.join() === target.join();
  const tensors = [first, ...others];
  const equation = `${tensors.map(({ letters }) => letters.join("")).join()}->${target.join("")}`;
  const contracted = untouched
    ? first.value
    : g.einsum(
        equation,
        tensors.map(({ value }) => value),
      );
  return product([contracted, ...scalars]);
}

/**
 * The gradient of one operand: the product of dy and the other operands, summed over all letters but the operand's own.
 * A letter that only this operand has was summed by itself, so its gradient is repeated along that axis. A letter that
 * the operand has twice reads a diagonal, so the gradient is zero off the diagonal.
 */
function gradientOf(context: RuleContext, dy: Typed, g: Emit, index: number): Typed {
  const { node } = context;
  const values = context.inputs.map((_, i) => context.input(i));
  const { operands, result, sizes } = parseEquation(
    node.string("equation", ""),
    values.map(({ shape }) => shape),
  );
  const factors = values.map((value, i) => factorOf(g, operands[i] ?? [], value, sizes));
  const own = factors[index]?.letters ?? [];
  const rest = [{ letters: result, value: dy }, ...factors.filter((_, i) => i !== index)];
  const letters = [...new Set(own)];
  const target = letters.filter((letter) => rest.some((factor) => factor.letters.includes(letter)));
  const contracted = contract(g, rest, target);

  // The first axis of each letter has its full length; later axes of the same letter are spread along the diagonal.
  const isFirst = (axis: number) => own.indexOf(own[axis] ?? "") === axis;
  const size = (axis: number) => sizes.get(own[axis] ?? "") ?? 1;
  const shape = own.map((letter, axis) => (isFirst(axis) && target.includes(letter) ? size(axis) : 1));
  const spread = own.reduce(
    (gradient, letter, axis) => {
      if (isFirst(axis)) return gradient;
      const first = own.indexOf(letter);
      const diagonal = own.map((_, other) => (other === axis || other === first ? size(axis) : 1));
      return g.mul(gradient, g.reshape(g.identityMatrix(size(axis), dy.type), diagonal));
    },
    g.reshape(contracted, shape),
  );
  const full = g.expand(
    spread,
    own.map((_, axis) => size(axis)),
  );
  return g.reshape(full, context.input(index).shape);
}

const equation = (text: string, ...inputs: number[][]): Sample => ({
  inputs,
  attributes: { equation: string(text) },
});

export const einsum = {
  Einsum: {
    vjp: (context, dy, g) => {
      const repeated = context.node.string("equation", "").match(/->.*([A-Za-z]).*\1/);
      if (repeated) {
        throw new SorthError(
          `cannot differentiate Einsum (node "${context.node.label}"): its result has the index "${repeated[1]}" twice`,
        );
      }
      return context.inputs.map((_, index) => () => gradientOf(context, dy, g, index));
    },
    samples: [
      equation("ij,jk->ik", [2, 3], [3, 4]),
      equation("bij , bjk -> bik", [2, 2, 3], [2, 3, 4]),
      equation("bhqd,bhkd->bhqk", [2, 2, 3, 4], [2, 2, 5, 4]),
      equation("ij->ji", [2, 3]),
      equation("ij->", [2, 3]),
      equation("ij->j", [2, 3]),
      equation("i,i->", [3], [3]),
      equation("i,j->ij", [2], [3]),
      equation("ij,kl->il", [2, 3], [4, 2]),
      equation("ii->i", [3, 3]),
      equation("ii->", [3, 3]),
      equation("bii,i->b", [2, 3, 3], [3]),
      equation("iji->j", [3, 2, 3]),
      equation("iii->i", [2, 2, 2]),
      equation("ij,jk", [2, 3], [3, 4]),
      equation("ba,ca", [2, 3], [4, 3]),
      equation("ii", [3, 3]),
      equation("...ij,...jk->...ik", [2, 2, 3], [2, 3, 4]),
      equation("...ij,jk", [2, 2, 3], [3, 4]),
      equation("i...,i...->...", [3, 2], [3, 2]),
      equation("...->...", [2, 3]),
      equation("bn...,bn->b...", [2, 3, 2, 2], [2, 3]),
      equation("i,jk,l->il", [2], [2, 3], [4]),
      equation("ab,bc,cd->ad", [2, 3], [3, 2], [2, 4]),
      equation("a,a,a->a", [3], [3], [3]),
      equation("ij,ij->ij", [2, 3], [1, 3]),
      equation(",i->i", [], [3]),
      equation("->", []),
      equation("ij->ji", [0, 3]),
      equation("ij,jk->ik", [0, 3], [3, 4]),
      equation("ij,jk->ik", [2, 0], [0, 4]),
    ],
  },
} satisfies RuleTable;
